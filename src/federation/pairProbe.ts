import type { PlannedStep } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import type { PairVerdict, PairWorkload } from '../contract/probePair.js';
import type { WorkloadFacts, WorkloadReference, WorkloadReport } from '../contract/workload.js';
import { probeExposure } from './probe.js';
import { step } from './step.js';

/**
 * What of a workload decides whether it can speak mTLS with another: of several pods, those of the first. Pure.
 * @returns why that cannot be told, as a line for people, when it has no identity
 */
export function pairWorkload(
  { cluster, trustDomain }: WorkloadFacts,
  workload: WorkloadReference,
  [report]: readonly WorkloadReport[],
): PairWorkload | string {
  if (report === undefined)
    return `${cluster}: there is no workload ${describe(workload)}. A pod is named <namespace>/<pod>.`;
  const { pod, entries, findings } = report;
  const asked = workload.kind === 'spiffeId' ? workload.spiffeId : undefined;
  const [first, ...others] = entries
    .map(({ spiffeId }) => spiffeId)
    .sort((a, b) => Number(b === asked) - Number(a === asked));
  if (first === undefined) {
    const [why] = findings;
    return `${cluster}: ${pod.namespace}/${pod.name} has no identity: ${why?.evidence ?? 'no registration entry'}. ${why?.remedy ?? ''}`.trim();
  }
  const federatesWith = new Set(entries.flatMap((entry) => entry.federatesWith));
  federatesWith.delete(trustDomain);
  return {
    cluster,
    trustDomain,
    pod: { namespace: pod.namespace, name: pod.name },
    spiffeIds: [first, ...others],
    federatesWith: [...federatesWith].sort(),
  };
}

function describe(workload: WorkloadReference): string {
  switch (workload.kind) {
    case 'pod':
      return `${workload.namespace}/${workload.name}`;
    case 'uid':
      return workload.uid;
    case 'spiffeId':
      return workload.spiffeId;
  }
}

/** Why two workloads cannot speak mTLS by their registration entries; empty when they can. */
export function pairObstacles(from: PairWorkload, to: PairWorkload): string[] {
  return [obstacle(from, to), obstacle(to, from)].filter((each) => each !== undefined);
}

function obstacle({ cluster, pod, federatesWith }: PairWorkload, { trustDomain }: PairWorkload): string | undefined {
  if (federatesWith.includes(trustDomain)) return undefined;
  return `no registration entry of ${pod.namespace}/${pod.name} on ${cluster} federates with ${trustDomain}: federator workload show ${pod.namespace}/${pod.name} --cluster ${cluster}`;
}

/** One handshake to try. */
export interface PairDial {
  step: PlannedStep;
  from: PairWorkload;
  to: PairWorkload;
  what: string;
  /** Which test workload dials. */
  role: 'federated' | 'unfederated';
  expected: 'handshake' | 'refusal';
  /** Of the workload itself; the test workload that stands in for it otherwise. */
  address?: string;
}

export interface PairPlan {
  clusters: { facts: ClusterFacts; deploy: PlannedStep; remove: PlannedStep }[];
  dials: PairDial[];
  reasons: string[];
  notes: string[];
}

/** Decides what to try between two workloads: between those that stand in for them, and with the second itself. Pure. */
export function planPairProbe(
  facts: readonly [ClusterFacts, ClusterFacts],
  [from, to]: readonly [PairWorkload, PairWorkload],
  address: string | undefined,
): PairPlan {
  const reasons = pairObstacles(from, to);
  const expected = reasons.length === 0 ? 'handshake' : 'refusal';
  const reachable = (workload: PairWorkload) =>
    facts.some(({ cluster, exposure }) => cluster === workload.cluster && probeExposure(exposure) !== undefined);
  const dial = (a: PairWorkload, b: PairWorkload, kind: 'stand-in' | 'unfederated' | 'itself'): PairDial => {
    const what = {
      'stand-in': `as ${name(a)}, dials one as ${name(b)}`,
      unfederated: `not federated, dials one as ${name(b)}`,
      itself: `as ${name(a)}, dials ${name(b)} at ${address ?? ''}`,
    }[kind];
    return {
      step: step('probe', `${a.cluster}→${b.cluster}/${kind}`, `On ${a.cluster}: a test workload ${what}`, 'check'),
      from: a,
      to: b,
      what,
      role: kind === 'unfederated' ? 'unfederated' : 'federated',
      expected: kind === 'unfederated' ? 'refusal' : expected,
      ...(kind === 'itself' && address !== undefined ? { address } : {}),
    };
  };
  const directions = [
    [from, to],
    [to, from],
  ] as const;
  return {
    clusters: facts.map((each) => ({
      facts: each,
      deploy: step('deployProbe', each.cluster, `Deploy test workloads on ${each.cluster}`, 'create'),
      remove: step('removeProbe', each.cluster, `Remove test workloads from ${each.cluster}`, 'delete'),
    })),
    dials: [
      ...directions
        .filter(([, b]) => reachable(b))
        .flatMap(([a, b]) => [dial(a, b, 'stand-in'), dial(a, b, 'unfederated')]),
      ...(address === undefined ? [] : [dial(from, to, 'itself')]),
    ],
    reasons,
    notes: [from, to]
      .filter((each) => !reachable(each))
      .map(
        ({ cluster }) =>
          `${cluster} is reached at one given address only, which leads to its bundle endpoint: no test workload is reached there.`,
      ),
  };
}

function name({ pod }: PairWorkload): string {
  return `${pod.namespace}/${pod.name}`;
}

/** What the handshakes say about two workloads. */
export function pairOutcome(
  dials: readonly { expected: 'handshake' | 'refusal'; role: string; ok: boolean }[],
): PairVerdict['outcome'] {
  const decisive = dials.filter(({ role }) => role === 'federated');
  if (decisive.length === 0 || dials.some(({ ok }) => !ok)) return 'unclear';
  return decisive[0]?.expected ?? 'unclear';
}
