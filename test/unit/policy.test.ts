import type { KubernetesObject } from '../../src/contract/kubernetes.js';
import { POLICY } from '../../src/contract/names.js';
import { policiesSchema, policySchema, templateFault, type Policy } from '../../src/contract/policy.js';
import { setupMeshInputSchema, type SetupInput } from '../../src/contract/change.js';
import { planSetup, planSteps } from '../../src/federation/plan.js';
import { maskedBy, policiesOf, renderPolicy } from '../../src/federation/policy.js';
import type { ClusterFacts, IdentityFacts } from '../../src/contract/facts.js';
import { federatedClusters, freshCluster, identityFacts, withPolicy } from '../support/freshCluster.js';

const FEDERATION = 'demo';
const MEMBER = { className: 'spire', trustDomain: 'a.test' };
const TRUSTED = [
  { cluster: 'c', trustDomain: 'c.test' },
  { cluster: 'b', trustDomain: 'b.test' },
];

test.each([
  {
    policy: { type: 'universal' },
    name: 'all-workloads-auto-federated',
    selects: {
      namespaceSelector: {
        matchExpressions: [
          {
            key: 'kubernetes.io/metadata.name',
            operator: 'NotIn',
            values: expect.arrayContaining(['kube-system', 'openshift-monitoring']) as string[],
          },
        ],
      },
    },
  },
  {
    policy: { type: 'label' },
    name: 'label-based-auto-federated',
    selects: { podSelector: { matchLabels: { federated: 'true' } } },
  },
  {
    policy: { type: 'namespace', namespace: 'cert-manager' },
    name: 'cert-manager-auto-federated',
    selects: { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'cert-manager' } } },
  },
  {
    policy: {
      type: 'custom',
      name: 'mine',
      podSelector: { matchLabels: { app: 'x' } },
      spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/app/{{ .PodMeta.Name }}',
      hint: 'mine',
      ttl: '1h',
    },
    name: 'mine',
    selects: {
      podSelector: { matchLabels: { app: 'x' } },
      spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/app/{{ .PodMeta.Name }}',
      hint: 'mine',
      ttl: '1h',
    },
  },
])('$policy.type: a ClusterSPIFFEID with the class and every other trust domain', ({ policy, name, selects }) => {
  const object = renderPolicy(policySchema.parse(policy), MEMBER, TRUSTED, FEDERATION);
  expect(object.metadata.name).toBe(name);
  expect(object['spec']).toMatchObject({ className: 'spire', federatesWith: ['b.test', 'c.test'], ...selects });
});

test('the own trust domain is never in federatesWith, and chosen peers limit it', () => {
  const policy = policySchema.parse({ type: 'label', peers: ['a', 'c'] });
  const object = renderPolicy(policy, MEMBER, [...TRUSTED, { cluster: 'a', trustDomain: 'a.test' }], FEDERATION);
  expect(object['spec']).toMatchObject({ federatesWith: ['c.test'] });
});

test.each([
  ['spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}', undefined],
  ['spiffe://{{.TrustDomain}}/{{ index .PodMeta.Labels "app" }}', undefined],
  ['/ns/x', /must be a SPIFFE ID/],
  ['spiffe://{{ .TrustDomain }}', /with a path/],
  ['spiffe://{{ .TrustDomain }}/{{ .PodMeta.Name', /not closed/],
  ['spiffe://{{ .TrustDomain }}/{{ .Pod.Name }}', /uses \.Pod; there are \.TrustDomain/],
  ['spiffe://{{ .TrustDomain }}/{{ }}', /empty/],
])('template %s', (template, fault) => {
  if (fault === undefined) expect(templateFault(template)).toBeUndefined();
  else expect(templateFault(template)).toMatch(fault);
});

test('invalid policies are refused, all faults at once', () => {
  const result = policiesSchema.safeParse([
    { type: 'label', labels: { 'not a key': 'x' } },
    { type: 'custom', name: 'x', podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } },
    { type: 'custom', name: 'x', spiffeIDTemplate: 'nonsense' },
    { type: 'universal', namespaces: [] },
  ]);
  const paths = result.error?.issues.map(({ path }) => path.join('.'));
  expect(paths).toEqual(
    expect.arrayContaining([
      '0.labels.not a key',
      '1.podSelector.matchExpressions.0.values',
      '2.spiffeIDTemplate',
      '3',
    ]),
  );
});

describe('the policies of a federation', () => {
  const policy = policySchema.parse({ type: 'universal' });
  const input: SetupInput = {
    ...setupMeshInputSchema.parse({ federation: FEDERATION, probe: false }),
    relationships: 'static',
    refreshHintSeconds: 300,
  };

  /** Members that have the policy already. */
  const members = (names: string[]) => withPolicy(FEDERATION, federatedClusters(FEDERATION, names), policy);

  const changes = (clusters: ClusterFacts[], options: Partial<SetupInput> = {}) =>
    planSteps(planSetup({ ...input, ...options }, clusters))
      .filter(({ id, action }) => id.startsWith('applyPolicies') && action !== 'none')
      .map(({ id, action }) => `${action} ${id}`);

  test('are read back from them, and nothing is to do', () => {
    expect(policiesOf(FEDERATION, members(['a', 'b']))).toEqual([policy]);
    expect(changes(members(['a', 'b']))).toEqual([]);
  });

  test('come to a newcomer and name it on the others, without being said again', () => {
    const clusters = [...members(['a', 'b']), freshCluster('c')];
    expect(changes(clusters)).toEqual(['change applyPolicies/a', 'change applyPolicies/b', 'create applyPolicies/c']);
  });

  test('are put back where somebody edited them, also where something was added', () => {
    const [a, b] = members(['a', 'b']) as [ClusterFacts, ClusterFacts];
    const [identity] = a.identities as [IdentityFacts];
    const object = identity.object as NonNullable<IdentityFacts['object']>;
    const edited = { ...object, spec: { ...(object['spec'] as object), podSelector: { matchLabels: { a: 'b' } } } };
    expect(changes([{ ...a, identities: [{ ...identity, object: edited }] }, b])).toEqual(['change applyPolicies/a']);
  });

  describe('of which somebody edited the annotation on a member', () => {
    const edited = { ...policy, exceptNamespaces: [] } as Policy;
    /** The policy as one member has it who is edited, wherever that is listed. */
    const among = (names: string[], annotation: Policy) =>
      members(names).map((facts) =>
        facts.cluster === 'edited'
          ? { ...facts, identities: facts.identities.map((each) => ({ ...each, policy: annotation })) }
          : facts,
      );

    test.each([[['edited', 'a', 'b']], [['a', 'edited', 'b']], [['a', 'b', 'edited']]])(
      'stay as most members have them, of %j',
      (names) => expect(policiesOf(FEDERATION, among(names, edited))).toEqual([policy]),
    );

    test.each([[['edited', 'a']], [['a', 'edited']]])('stay as they are known, of %j', (names) => {
      expect(policiesOf(FEDERATION, among(names, edited), [policy])).toEqual([policy]);
      expect(policiesOf(FEDERATION, among(names, { ...policy, name: 'other' }), [policy])).toEqual([policy]);
    });

    test.each([[['edited', 'a']], [['a', 'edited']]])(
      'are never called otherwise than their object, of %j',
      (names) => {
        expect(policiesOf(FEDERATION, among(names, { ...policy, name: 'other' }))).toEqual([policy]);
      },
    );

    test('are put back there and nowhere else', () => {
      const clusters = among(['a', 'b', 'edited'], edited).map((facts) =>
        facts.cluster === 'edited'
          ? {
              ...facts,
              identities: facts.identities.map((each) => ({ ...each, object: annotated(each.object, edited) })),
            }
          : facts,
      );
      expect(changes(clusters)).toEqual(['change applyPolicies/edited']);
    });
  });

  test('go when none are wanted any more', () => {
    expect(changes(members(['a', 'b']), { policies: [] })).toEqual([
      'delete applyPolicies/a',
      'delete applyPolicies/b',
    ]);
  });

  test("do not take over somebody else's ClusterSPIFFEID of the same name", () => {
    const [a, b] = federatedClusters(FEDERATION, ['a', 'b']) as [ClusterFacts, ClusterFacts];
    const identity = identityFacts({ name: 'all-workloads-auto-federated' });
    const plan = planSetup({ ...input, policies: [policy] }, [{ ...a, identities: [identity] }, b]);
    expect(plan.problems).toMatchObject([{ cluster: 'a', type: 'ForeignObject' }]);
  });
});

/** A ClusterSPIFFEID of which somebody edited the annotation. */
function annotated(object: KubernetesObject | undefined, policy: Policy): KubernetesObject {
  if (object === undefined) throw new Error('a member with a policy has its object');
  return { ...object, metadata: { ...object.metadata, annotations: { [POLICY]: JSON.stringify(policy) } } };
}

test('an entry is masked by older ones with the same template that are no fallback', () => {
  const mine = identityFacts({
    name: 'mine',
    className: 'spire',
    createdAt: '2026-02-01T00:00:00Z',
    spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/x',
    uid: 'm',
  });
  const all = [
    mine,
    { ...mine, name: 'older', createdAt: '2026-01-01T00:00:00Z' },
    { ...mine, name: 'fallback', createdAt: '2026-01-01T00:00:00Z', fallback: true },
    { ...mine, name: 'other', createdAt: '2026-01-01T00:00:00Z', spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/y' },
    { ...mine, name: 'younger', createdAt: '2026-03-01T00:00:00Z' },
    { ...mine, name: 'of the same second, with the lesser UID', uid: 'a' },
    { ...mine, name: 'of the same second, with the greater UID', uid: 'z' },
  ];
  expect(maskedBy(mine, all)).toEqual(['older', 'of the same second, with the lesser UID']);
});
