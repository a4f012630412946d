import type { IdentityFacts } from '../../src/contract/facts.js';
import type { PodFacts, WorkloadFacts } from '../../src/contract/workload.js';
import type { LabelSelector } from '../../src/contract/labelSelector.js';
import { parseWorkloadReference } from '../../src/contract/workload.js';
import { selectorMiss } from '../../src/federation/selector.js';
import { explainWorkloads } from '../../src/federation/workload.js';

const TEMPLATE = 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}';

const POD: PodFacts = {
  namespace: 'my-app',
  name: 'web',
  uid: '00000000-0000-0000-0000-000000000001',
  labels: { app: 'web' },
  namespaceLabels: { 'kubernetes.io/metadata.name': 'my-app' },
  serviceAccount: 'default',
  phase: 'Running',
  nodeName: 'node',
  csiVolume: true,
};

const UNIVERSAL: IdentityFacts = {
  name: 'universal',
  createdAt: '2026-02-01T00:00:00Z',
  className: 'spire',
  fallback: false,
  hint: '',
  spiffeIDTemplate: TEMPLATE,
  federatesWith: ['b.test'],
  podSelector: {},
  namespaceSelector: {},
  stats: {},
};

const ENTRY = {
  spiffeId: 'spiffe://a.test/ns/my-app/sa/default',
  federatesWith: ['b.test'],
  hint: '',
  selectors: [`k8s:pod-uid:${POD.uid}`],
};

function explain(facts: Partial<WorkloadFacts>) {
  const [report] = explainWorkloads({
    cluster: 'a',
    trustDomain: 'a.test',
    className: 'spire',
    storedBundles: ['b.test'],
    pods: [POD],
    entries: [],
    identities: [],
    ...facts,
  });
  if (report === undefined) throw new Error('one pod gives one report');
  return report;
}

test('an entry is led back to the ClusterSPIFFEID that it came from, and nothing is odd', () => {
  const fallback = { ...UNIVERSAL, name: 'default', fallback: true, hint: 'default', federatesWith: [] };
  const report = explain({ entries: [ENTRY], identities: [UNIVERSAL, fallback] });
  expect(report.entries).toMatchObject([{ spiffeId: ENTRY.spiffeId, from: 'universal' }]);
  expect(report.policies).toEqual([
    { name: 'universal', effect: 'applies' },
    { name: 'default', effect: 'stands back: it is a fallback, and universal selects the pod' },
  ]);
  expect(report.findings).toEqual([]);
});

test('of two that give the same SPIFFE ID the older applies, and masks the younger', () => {
  const older = { ...UNIVERSAL, name: 'older', createdAt: '2026-01-01T00:00:00Z', federatesWith: [] };
  const report = explain({ entries: [{ ...ENTRY, federatesWith: [] }], identities: [UNIVERSAL, older] });
  expect(report.entries[0]?.from).toBe('older');
  expect(report.policies[0]?.effect).toMatch(/masked by older, which is older/);
});

test.each([
  {
    what: 'no class',
    facts: { identities: [{ ...UNIVERSAL, className: '' }] },
    says: /only universal would select it, .* ignores that for its className/,
  },
  {
    what: 'nothing that selects it',
    facts: { identities: [{ ...UNIVERSAL, podSelector: { matchLabels: { app: 'db' } } }] },
    says: /no ClusterSPIFFEID selects it/,
  },
  {
    what: 'a federatesWith with the own trust domain',
    facts: { identities: [{ ...UNIVERSAL, federatesWith: ['a.test'] }] },
    says: /own trust domain: the agent stops/,
  },
  {
    what: 'a federatesWith without a stored bundle',
    facts: { identities: [UNIVERSAL], storedBundles: [] },
    says: /b\.test, whose bundle is not stored: SPIRE refuses the entry whole/,
  },
  {
    what: 'a template that does not fit',
    facts: { identities: [{ ...UNIVERSAL, stats: { podEntryRenderFailures: 2 } }] },
    says: /could not render 2 entries/,
  },
  {
    what: 'a pod that is not scheduled',
    facts: {
      identities: [UNIVERSAL],
      pods: [{ ...POD, nodeName: undefined, phase: 'Pending' } as unknown as PodFacts],
    },
    says: /is not scheduled \(Pending\)/,
  },
  { what: 'no reason that can be seen', facts: { identities: [UNIVERSAL] }, says: /there is no entry yet/ },
])('no identity because of $what is said to be so, with a remedy', ({ facts, says }) => {
  const { entries, findings } = explain(facts);
  expect(entries).toEqual([]);
  expect(findings[0]?.evidence).toMatch(says);
  expect(findings[0]?.remedy).not.toBe('');
});

test('a pod without the CSI volume has an identity that it cannot get at', () => {
  const { findings } = explain({ entries: [ENTRY], identities: [UNIVERSAL], pods: [{ ...POD, csiVolume: false }] });
  expect(findings.map(({ evidence }) => evidence)).toEqual([expect.stringMatching(/no csi\.spiffe\.io volume/)]);
});

test.each<[LabelSelector, string | undefined]>([
  [{}, undefined],
  [{ matchLabels: { a: '1' } }, undefined],
  [{ matchLabels: { a: '2' } }, 'label a is 1, not 2'],
  [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['1', '2'] }] }, undefined],
  [{ matchExpressions: [{ key: 'b', operator: 'In', values: ['1'] }] }, 'label b is missing, none of 1'],
  [{ matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['1'] }] }, 'label a is 1, which is excepted'],
  [{ matchExpressions: [{ key: 'b', operator: 'NotIn', values: ['1'] }] }, undefined],
  [{ matchExpressions: [{ key: 'b', operator: 'Exists' }] }, 'label b is missing'],
  [{ matchExpressions: [{ key: 'a', operator: 'DoesNotExist' }] }, 'label a is there'],
])('selector %j on {a: 1}', (selector, miss) => {
  expect(selectorMiss(selector, { a: '1' })).toBe(miss);
});

test('a workload is named by pod, UID or SPIFFE ID', () => {
  expect(parseWorkloadReference('my-app/web')).toEqual({ kind: 'pod', namespace: 'my-app', name: 'web' });
  expect(parseWorkloadReference(POD.uid)).toEqual({ kind: 'uid', uid: POD.uid });
  expect(parseWorkloadReference('spiffe://a.test/x')).toEqual({ kind: 'spiffeId', spiffeId: 'spiffe://a.test/x' });
  expect(parseWorkloadReference('nonsense')).toBeUndefined();
});
