import type { PairWorkload } from '../../src/contract/probePair.js';
import { parsePairEnd, probePairInputSchema } from '../../src/contract/probePair.js';
import type { WorkloadFacts, WorkloadReport } from '../../src/contract/workload.js';
import { pairOutcome, pairWorkload, planPairProbe } from '../../src/federation/pairProbe.js';
import type { ClusterFacts } from '../../src/contract/facts.js';
import { freshCluster } from '../support/freshCluster.js';

const workload = (cluster: string, ...federatesWith: string[]): PairWorkload => ({
  cluster,
  trustDomain: `${cluster}.test`,
  pod: { namespace: 'my-app', name: 'app' },
  spiffeIds: [`spiffe://${cluster}.test/ns/my-app/sa/default`],
  federatesWith,
});
const clusters: [ClusterFacts, ClusterFacts] = [freshCluster('a'), freshCluster('b')];
const expectations = (from: PairWorkload, to: PairWorkload) =>
  planPairProbe(clusters, [from, to], undefined).dials.map(({ step, role, expected }) => [step.id, role, expected]);

test.each([
  { from: ['b.test'], to: ['a.test'], expected: 'handshake', reasons: 0 },
  { from: ['b.test'], to: [], expected: 'refusal', reasons: 1 },
  { from: [], to: ['a.test'], expected: 'refusal', reasons: 1 },
  { from: ['c.test'], to: ['c.test'], expected: 'refusal', reasons: 2 },
])('of $from and $to a $expected is expected, both ways', ({ from, to, expected, reasons }) => {
  const [a, b] = [workload('a', ...from), workload('b', ...to)];
  expect(expectations(a, b)).toEqual([
    ['probe/a→b/stand-in', 'federated', expected],
    ['probe/a→b/unfederated', 'unfederated', 'refusal'],
    ['probe/b→a/stand-in', 'federated', expected],
    ['probe/b→a/unfederated', 'unfederated', 'refusal'],
  ]);
  expect(planPairProbe(clusters, [a, b], undefined).reasons).toHaveLength(reasons);
});

test('with an address the second workload is dialled itself', () => {
  const { dials } = planPairProbe(clusters, [workload('a', 'b.test'), workload('b', 'a.test')], 'db.b.test:5432');
  expect(dials.at(-1)).toMatchObject({ address: 'db.b.test:5432', expected: 'handshake', role: 'federated' });
});

test('a cluster that only a given address leads to is not dialled, and that is said', () => {
  const given: ClusterFacts = { ...clusters[1], exposure: { type: 'address', url: 'https://b.test' } };
  const plan = planPairProbe([clusters[0], given], [workload('a', 'b.test'), workload('b', 'a.test')], undefined);
  expect(plan.dials.map(({ step }) => step.id)).toEqual(['probe/b→a/stand-in', 'probe/b→a/unfederated']);
  expect(plan.notes).toEqual([expect.stringMatching(/^b is reached at one given address only/)]);
});

test('all handshakes must be as the entries say', () => {
  const dial = (role: string, expected: 'handshake' | 'refusal', ok: boolean) => ({ role, expected, ok });
  expect(pairOutcome([dial('federated', 'handshake', true), dial('unfederated', 'refusal', true)])).toBe('handshake');
  expect(pairOutcome([dial('federated', 'refusal', true), dial('unfederated', 'refusal', true)])).toBe('refusal');
  expect(pairOutcome([dial('federated', 'handshake', true), dial('unfederated', 'refusal', false)])).toBe('unclear');
  expect(pairOutcome([])).toBe('unclear');
});

describe('a workload to be probed', () => {
  const facts = { cluster: 'a', trustDomain: 'a.test' } as WorkloadFacts;
  const reference = { kind: 'pod', namespace: 'my-app', name: 'app' } as const;
  const entry = {
    spiffeId: 'spiffe://a.test/x',
    parentId: '',
    federatesWith: ['b.test', 'a.test'],
    hint: '',
    selectors: [],
  };
  const report = (part: Partial<WorkloadReport>) =>
    [{ pod: { namespace: 'my-app', name: 'app' }, entries: [], findings: [], ...part }] as unknown as WorkloadReport[];

  test('federates with what any of its entries does, and the entry that was asked for comes first', () => {
    const entries = [entry, { ...entry, spiffeId: 'spiffe://a.test/y', federatesWith: ['c.test'] }];
    const asked = { kind: 'spiffeId', spiffeId: 'spiffe://a.test/y' } as const;
    expect(pairWorkload(facts, asked, report({ entries }))).toMatchObject({
      spiffeIds: ['spiffe://a.test/y', 'spiffe://a.test/x'],
      federatesWith: ['b.test', 'c.test'],
    });
  });

  test('that is not there, or has no identity, is said to be so, and why', () => {
    expect(pairWorkload(facts, reference, [])).toMatch(/^a: there is no workload my-app\/app/);
    const findings = [{ evidence: 'no ClusterSPIFFEID selects it', remedy: 'Add a policy.' }];
    expect(pairWorkload(facts, reference, report({ findings }))).toBe(
      'a: my-app/app has no identity: no ClusterSPIFFEID selects it. Add a policy.',
    );
  });
});

test('two ends are named by their clusters and workloads, and must be on two clusters', () => {
  expect(parsePairEnd('client-1:my-app/web')).toEqual({
    cluster: 'client-1',
    workload: { kind: 'pod', namespace: 'my-app', name: 'web' },
  });
  expect(parsePairEnd('client-1:spiffe://a.test/x')?.workload).toEqual({
    kind: 'spiffeId',
    spiffeId: 'spiffe://a.test/x',
  });
  expect(parsePairEnd('my-app/web')).toBeUndefined();
  const parse = (from: unknown, to: unknown, rest = {}) =>
    probePairInputSchema.safeParse({ federation: 'f', from, to, ...rest }).error?.issues.map(({ message }) => message);
  const a = parsePairEnd('a:x/y');
  expect(parse(a, parsePairEnd('b:x/y'))).toBeUndefined();
  expect(parse(a, a)).toEqual([expect.stringMatching(/on the same cluster/)]);
  expect(parse(undefined, a, { address: 'no port' })).toEqual([
    expect.stringMatching(/must be <cluster>:/),
    'must be <host>:<port>',
  ]);
});
