import { ApplicationFailure, isCancellation, setCurrentDetails, sleep } from '@temporalio/workflow';
import type { StepOutcome } from '../contract/activities.js';
import type { PlannedStep } from '../contract/change.js';
import { edgeName } from '../contract/names.js';
import type { PreparedAuthority, RotateCaInput, RotateCaResult, RotationProof } from '../contract/rotation.js';
import { holdFailure, proofTable, rotationSteps, unfresh, type EdgeLook } from '../federation/rotation.js';
import { readCluster, refreshEdges, runCheck, runStep } from './activities.js';
import { rootMessage } from './failure.js';
import { Progress } from './progress.js';

const ATTEMPTS = 5;
/** How long a repair that is under way may take to stop. */
const REPAIR_MS = 5 * 60_000;
/** Agents fetch bundles every 5 s (spire: agent sync_interval): the workloads of the peers know the key after this. */
const AGENTS_MS = 10_000;
const LOOK_AGAIN_MS = 2_000;
const READING_MS = 20_000;
const REFRESH_MS = 10_000;

/**
 * Rotates the CA of one member so that no edge breaks: the next CA is in the bundle of every peer before it signs
 * anything, and the old one is revoked, where that was asked for, only when all edges are fresh without it. A change of
 * the federation by its workflow ID: no other one runs beside it, and nothing is repaired meanwhile.
 *
 * What fails before the activation leaves the old CA active; the prepared one is only one more key in the bundles.
 */
export async function rotateCa(input: RotateCaInput): Promise<RotateCaResult> {
  return new Rotation(input).run();
}

class Rotation {
  private readonly progress = new Progress();
  private proof: RotationProof | undefined;
  private readonly peers: string[];
  private readonly limitMs: number;
  private readonly steps: Map<string, PlannedStep>;

  constructor(private readonly input: RotateCaInput) {
    const { cluster, edges, revoke } = input;
    this.peers = edges.filter(({ trusted }) => trusted === cluster).map(({ trusting }) => trusting);
    const slowest = Math.max(...edges.map(({ expectedMs }) => expectedMs));
    this.limitMs = 2 * slowest + 30_000;
    const steps = rotationSteps(cluster, this.peers, revoke);
    this.steps = new Map(steps.map((step) => [step.id, step]));
    this.progress.plan(steps);
  }

  async run(): Promise<RotateCaResult> {
    const { input } = this;
    const { federation, cluster } = input;
    await this.step('check', async () => {
      await runCheck('awaitNoRepair', 'Wait for a repair to stop', { federation, timeoutMs: REPAIR_MS });
      await this.untilFresh('is not fresh, so nothing was changed', 'PreflightFailed');
      return { changed: false };
    });
    const authority = await this.prepare();
    const { authorityId, activeId, keyId, activeKeyId } = authority;
    const proof = this.begin(authority);
    await this.holdAll(keyId);
    await sleep(AGENTS_MS);
    const next = { cluster, federation, authorityId, keyId };
    await this.step('activate', () => runStep('activateAuthority', this.named('activate'), ATTEMPTS, next));
    proof.activatedAt = Date.now();
    await this.step('prove', () =>
      this.prove('freshAfterActivationAt', `does not become fresh after the next CA of ${cluster} was activated`),
    );
    if (input.revoke) {
      const old = { cluster, federation, authorityId: activeId, keyId: activeKeyId };
      await this.step('taint', async () => {
        const outcome = await runStep('taintAuthority', this.named('taint'), ATTEMPTS, old);
        proof.taintedAt = Date.now();
        await sleep(input.settleMs);
        return outcome;
      });
      await this.step('revoke', () => runStep('revokeAuthority', this.named('revoke'), ATTEMPTS, old));
      proof.revokedAt = Date.now();
      await this.step('proveRevoked', () =>
        this.prove('freshAfterRevocationAt', `does not become fresh after the old CA of ${cluster} was revoked`),
      );
    }
    this.progress.enter('finished');
    setCurrentDetails(proofTable(proof));
    return {
      federation,
      changed: true,
      planned: false,
      steps: this.progress.list,
      members: [],
      probes: [],
      leftAlone: [],
      rotation: proof,
    };
  }

  private async prepare(): Promise<PreparedAuthority> {
    const { federation, cluster } = this.input;
    let authority: PreparedAuthority | undefined;
    await this.step('prepare', async () => {
      authority = await runStep('prepareAuthority', this.named('prepare'), ATTEMPTS, { cluster, federation });
      return { changed: true, note: authority.authorityId.slice(0, 16) };
    });
    if (authority === undefined) throw new Error('unreachable: the step has run');
    return authority;
  }

  private begin({ authorityId, activeId }: PreparedAuthority): RotationProof {
    const { cluster } = this.input;
    this.proof = { cluster, oldAuthority: activeId, newAuthority: authorityId, preparedAt: Date.now(), edges: [] };
    return this.proof;
  }

  /** Every peer holds the next CA, or nothing is activated. */
  private async holdAll(keyId: string): Promise<void> {
    const { federation, cluster, trustDomain, holdTimeoutMs, edges } = this.input;
    const failed: { peer: string; why: string }[] = [];
    await Promise.all(
      this.peers.map(async (peer) => {
        const intervalMs = edges.find((each) => each.trusting === peer && each.trusted === cluster)?.expectedMs ?? 0;
        const id = `hold/${peer}`;
        try {
          await this.step(id, async () => {
            const request = { cluster: peer, federation, trustDomain, keyId, intervalMs, timeoutMs: holdTimeoutMs };
            const { at, forced } = await runStep('awaitAuthority', this.named(id), ATTEMPTS, request);
            this.proof?.edges.push({ trusting: peer, trusted: cluster, heldAt: at, forced });
            return { changed: false, ...(forced === 0 ? {} : { note: `${forced} fetched by force` }) };
          });
        } catch (error) {
          if (isCancellation(error)) throw error;
          failed.push({ peer, why: rootMessage(error) });
        }
      }),
    );
    if (failed.length > 0) throw ApplicationFailure.nonRetryable(holdFailure(cluster, failed), 'NotReady');
  }

  private async prove(at: 'freshAfterActivationAt' | 'freshAfterRevocationAt', what: string): Promise<StepOutcome> {
    const times = await this.untilFresh(what, 'VerifyFailed');
    for (const edge of this.proof?.edges ?? [])
      edge[at] = times.get(edgeName(edge.trusting, edge.trusted)) ?? Date.now();
    return { changed: false, note: `${this.input.edges.length} edges` };
  }

  /**
   * Looks until every edge is fresh; peers of the rotated member fetch its bundle anew for that.
   * @returns when each was first seen to be
   */
  private async untilFresh(what: string, type: string): Promise<Map<string, number>> {
    const freshAt = new Map<string, number>();
    const deadline = Date.now() + this.limitMs;
    for (;;) {
      const looks = await this.look();
      const open = unfresh(this.input, looks);
      for (const edge of looks.keys()) if (!open.has(edge) && !freshAt.has(edge)) freshAt.set(edge, Date.now());
      if (open.size === 0) return freshAt;
      if (Date.now() > deadline) {
        const lines = [...open].map(([edge, why]) => `- ${edge} ${what}: ${why}`);
        throw ApplicationFailure.nonRetryable(lines.join('\n'), type);
      }
      await sleep(LOOK_AGAIN_MS);
    }
  }

  /** What each edge looks like now. */
  private async look(): Promise<Map<string, EdgeLook>> {
    const { federation, cluster, trustDomain, edges } = this.input;
    const members = [...new Set(edges.flatMap(({ trusting, trusted }) => [trusting, trusted]))];
    const refreshes = new Map(
      await Promise.all(
        this.peers.map(async (peer) => {
          const title = `Have ${peer} fetch the bundle of ${cluster}`;
          const request = { cluster: peer, federation, trustDomains: [trustDomain], timeoutMs: REFRESH_MS };
          try {
            const outcome = await refreshEdges(title, request);
            return [peer, outcome[trustDomain]] as const;
          } catch (error) {
            if (isCancellation(error)) throw error;
            return [peer, { at: Date.now(), ok: false, message: rootMessage(error) }] as const;
          }
        }),
      ),
    );
    const readings = new Map(
      await Promise.all(
        members.map(async (member) => {
          const reading = await readCluster(`Read ${member}`, {
            cluster: member,
            federation,
            pollIntervalMs: Math.max(...edges.map(({ expectedMs }) => expectedMs)),
            withAgents: false,
            timeoutMs: READING_MS,
          });
          return [member, reading] as const;
        }),
      ),
    );
    return new Map(
      edges.map((edge) => {
        const refresh = edge.trusted === cluster ? refreshes.get(edge.trusting) : undefined;
        const trusting = readings.get(edge.trusting);
        const trusted = readings.get(edge.trusted);
        return [
          edgeName(edge.trusting, edge.trusted),
          {
            ...(refresh === undefined ? {} : { refresh }),
            stored: trusting?.server?.stored?.[edge.trustDomain]?.fingerprint,
            own: trusted?.server?.ownFingerprint,
            problem: trusting?.problem?.message ?? trusted?.problem?.message,
          },
        ];
      }),
    );
  }

  private named(id: string): PlannedStep {
    const step = this.steps.get(id);
    if (step === undefined) throw new Error(`there is no step ${id}`);
    return step;
  }

  private async step(id: string, run: () => Promise<StepOutcome>): Promise<void> {
    await this.progress.follow(this.named(id), run);
  }
}
