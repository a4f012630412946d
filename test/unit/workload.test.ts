import type { IdentityFacts } from '../../src/contract/facts.js';
import type { Held, PodFacts, TrustDomainAuthorities, WorkloadFacts } from '../../src/contract/workload.js';
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
  held: { unread: 'nobody looked' },
};
const AGENT = 'spiffe://a.test/spire/agent/k8s_psat/a/node';
const NOW = Date.parse('2026-03-01T00:00:00Z');
const B: TrustDomainAuthorities = { cluster: 'b', trustDomain: 'b.test', authorities: ['b1', 'b2'] };

const UNIVERSAL: IdentityFacts = {
  name: 'universal',
  createdAt: '2026-02-01T00:00:00Z',
  uid: 'uid',
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
  parentId: AGENT,
  federatesWith: ['b.test'],
  hint: '',
  selectors: [`k8s:pod-uid:${POD.uid}`],
};

function explain(facts: Partial<WorkloadFacts>, current = [B]) {
  const all: WorkloadFacts = {
    cluster: 'a',
    trustDomain: 'a.test',
    authorities: ['a1'],
    className: 'spire',
    ignoreNamespaces: ['kube-system'],
    storedBundles: { 'b.test': ['b1', 'b2'] },
    pods: [POD],
    morePods: 0,
    entries: [],
    agents: [{ spiffeId: AGENT, expiresAt: '2026-03-01T01:00:00Z', banned: false }],
    identities: [],
    ...facts,
  };
  const [report] = explainWorkloads(all, [all, ...current], NOW);
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
    facts: { identities: [UNIVERSAL], storedBundles: {} },
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
  {
    what: 'a namespace that SPIRE controller manager ignores',
    facts: { identities: [UNIVERSAL], pods: [{ ...POD, namespace: 'my-kube-system' }] },
    says: /ignores namespace my-kube-system/,
  },
  { what: 'no reason that can be seen', facts: { identities: [UNIVERSAL] }, says: /there is no entry yet/ },
])('no identity because of $what is said to be so, with a remedy', ({ facts, says }) => {
  const { entries, findings } = explain(facts);
  expect(entries).toEqual([]);
  expect(findings[0]?.evidence).toMatch(says);
  expect(findings[0]?.remedy).not.toBe('');
});

describe('what a workload holds', () => {
  const held: Held = {
    source: '/certs/svid.pem in container app',
    spiffeIds: [ENTRY.spiffeId],
    expiresAt: '2026-03-01T00:30:00Z',
    authorities: ['a1', 'b1', 'b2'],
  };
  const holding = (part: Partial<Held>, facts: Partial<WorkloadFacts> = {}, current = [B]) =>
    explain(
      { entries: [ENTRY], identities: [UNIVERSAL], pods: [{ ...POD, held: { ...held, ...part } }], ...facts },
      current,
    );
  const evidence = ({ findings }: ReturnType<typeof explain>) => findings.map((each) => each.evidence);

  test('is compared with the current keys of each trust domain that it should trust', () => {
    const report = holding({});
    expect(report.trust).toEqual([
      { trustDomain: 'a.test', cluster: 'a', wanted: true, held: { present: 1, of: 1 } },
      {
        trustDomain: 'b.test',
        cluster: 'b',
        wanted: true,
        stored: { present: 2, of: 2 },
        held: { present: 2, of: 2 },
      },
    ]);
    expect(report.findings).toEqual([]);
  });

  test('that cannot be seen leaves what SPIRE server stores', () => {
    const report = explain({ entries: [ENTRY], identities: [UNIVERSAL] });
    expect(report.trust[1]).toEqual({
      trustDomain: 'b.test',
      cluster: 'b',
      wanted: true,
      stored: { present: 2, of: 2 },
    });
    expect(report.findings).toEqual([]);
  });

  test('of a peer that cannot be asked is compared with what SPIRE server stores', () => {
    expect(holding({ authorities: ['a1', 'b1'] }, {}, []).trust[1]).toEqual({
      trustDomain: 'b.test',
      wanted: true,
      held: { present: 1, of: 2 },
    });
  });

  test.each([
    [{ authorities: ['a1', 'b1'] }, {}, /holds 1 of the 2 keys of b\.test, and SPIRE server has them all/],
    [{}, { storedBundles: { 'b.test': ['b1'] } }, /SPIRE server of a stores 1 of the 2 keys that b\.test has now/],
    [{ expiresAt: '2026-02-28T23:59:59Z' }, {}, /its SVID expired at 2026-02-28/],
    [{ spiffeIds: ['spiffe://a.test/old'] }, {}, /SVID for spiffe:\/\/a\.test\/old, for which it has no registration/],
    [
      {},
      { entries: [{ ...ENTRY, federatesWith: [] }], identities: [{ ...UNIVERSAL, federatesWith: [] }] },
      /it trusts b\.test, with which none of its entries federates/,
    ],
    [{}, { agents: [] }, /no SPIRE agent delivers its SVID: .* has not attested/],
  ])('with %j and facts %j is odd, and that is said', (part, facts, says) => {
    expect(evidence(holding(part, facts))).toEqual([expect.stringMatching(says)]);
  });

  test('is nothing though there is an entry: the agent is to blame', () => {
    const pods = [{ ...POD, held: { unread: 'no identity issued', noIdentity: true } }];
    expect(evidence(explain({ entries: [ENTRY], identities: [UNIVERSAL], pods }))).toEqual([
      expect.stringMatching(/the Workload API gives it no SVID/),
    ]);
  });
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
