import type { PlannedStep } from '../contract/change.js';
import type { EdgeRefresh } from '../contract/health.js';
import { edgeName } from '../contract/names.js';
import type { RotateCaInput, RotationProof } from '../contract/rotation.js';

/** What is known of an edge at one moment of a rotation. */
export interface EdgeLook {
  /** Of the rotated member's peers: a fetch that was just made. */
  refresh?: EdgeRefresh;
  /** Fingerprints over all keys: what the trusting side stores, and what the trusted side has. */
  stored: string | undefined;
  own: string | undefined;
  problem: string | undefined;
}

/** The steps of a rotation, in their order. */
export function rotationSteps(cluster: string, peers: readonly string[], revoke: boolean): PlannedStep[] {
  const step = (id: string, title: string, action: PlannedStep['action'], at = cluster): PlannedStep => ({
    id,
    cluster: at,
    title,
    action,
  });
  return [
    step('check', 'See that no repair runs and every edge is fresh', 'check'),
    step('prepare', `Prepare the next CA of ${cluster}`, 'change'),
    ...peers.map((peer) => step(`hold/${peer}`, `Wait until ${peer} holds the next CA of ${cluster}`, 'check', peer)),
    step('activate', `Activate the next CA of ${cluster}`, 'change'),
    step('prove', 'Have the peers fetch its bundle, and see every edge fresh', 'check'),
    ...(revoke
      ? [
          step('taint', `Taint the old CA of ${cluster}, and let workloads get new SVIDs`, 'change'),
          step('revoke', `Revoke the old CA of ${cluster}`, 'change'),
          step('proveRevoked', 'Have the peers fetch its bundle, and see every edge fresh without it', 'check'),
        ]
      : []),
  ];
}

/** Edges that are not fresh, each with why. */
export function unfresh(
  { edges, cluster }: Pick<RotateCaInput, 'edges' | 'cluster'>,
  looks: ReadonlyMap<string, EdgeLook>,
): Map<string, string> {
  const open = new Map<string, string>();
  for (const { trusting, trusted } of edges) {
    const edge = edgeName(trusting, trusted);
    const why = whyUnfresh(looks.get(edge), trusted === cluster);
    if (why !== undefined) open.set(edge, why);
  }
  return open;
}

function whyUnfresh(look: EdgeLook | undefined, isRotated: boolean): string | undefined {
  if (look === undefined) return 'it was not looked at';
  const { refresh, stored, own, problem } = look;
  if (problem !== undefined) return problem;
  if (isRotated && refresh?.ok !== true) return refresh?.message ?? 'its bundle was not fetched';
  if (own === undefined) return 'the keys of the trusted side are not known';
  const held = refresh?.stored ?? stored;
  if (held === undefined) return 'no bundle is stored';
  return held === own ? undefined : 'the keys that are stored are others';
}

/** Why nothing was activated. */
export function holdFailure(cluster: string, failed: readonly { peer: string; why: string }[]): string {
  const lines = failed.map(({ peer, why }) => `- ${peer}: ${why}`);
  return `The CA of ${cluster} was not rotated: ${failed.map(({ peer }) => peer).join(', ')} ${failed.length === 1 ? 'does' : 'do'} not hold the next one.\n${lines.join('\n')}\nThe old CA stays active, and no edge is worse than before; the next one is only one more key in the bundles. Mend the edges (npm run federator -- status), then run it again: it takes up the CA that is prepared.`;
}

/** A rotation's proof as Markdown, for the Temporal Web UI. */
export function proofTable({ cluster, oldAuthority, newAuthority, edges, ...at }: RotationProof): string {
  const time = (ms: number | undefined) => (ms === undefined ? '' : new Date(ms).toISOString().slice(11, 23));
  return [
    `CA of **${cluster}**: ${oldAuthority.slice(0, 16)} → ${newAuthority.slice(0, 16)}, prepared ${time(at.preparedAt)}, activated ${time(at.activatedAt)}${at.revokedAt === undefined ? '' : `, tainted ${time(at.taintedAt)}, revoked ${time(at.revokedAt)}`}`,
    '',
    '| edge | holds the next CA | by force | fresh with it active | fresh without the old one |',
    '|-|-|-|-|-|',
    ...edges.map(
      ({ trusting, trusted, heldAt, forced, freshAfterActivationAt, freshAfterRevocationAt }) =>
        `| ${edgeName(trusting, trusted)} | ${time(heldAt)} | ${forced} | ${time(freshAfterActivationAt)} | ${time(freshAfterRevocationAt)} |`,
    ),
  ].join('\n');
}
