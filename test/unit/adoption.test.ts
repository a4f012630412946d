import type { ClusterFacts } from '../../src/contract/facts.js';
import type { KubernetesObject } from '../../src/contract/kubernetes.js';
import { planAdoption } from '../../src/federation/adoption.js';
import { readIdentity } from '../../src/federation/identity.js';
import { owned } from '../../src/federation/ownership.js';
import { policiesOf, renderPolicy } from '../../src/federation/policy.js';
import { federatedClusters, freshCluster } from '../support/freshCluster.js';

const FEDERATION = 'demo';
const NAMES = ['a', 'b', 'c'];

/** Clusters as scripts federate them: as the engine would, without its marks. */
function scripted(hub?: string): [ClusterFacts, ClusterFacts, ClusterFacts] {
  return federatedClusters(FEDERATION, NAMES, hub).map(({ federation: _federation, ...facts }): ClusterFacts => ({
    ...facts,
    endpointObjects: facts.endpointObjects.map(({ metadata: { labels: _labels, ...metadata }, ...object }) => ({
      ...object,
      metadata,
    })),
    relationships: facts.relationships.map(({ federation: _owner, hub: _hub, ...each }) => each),
    serverConfRecorded: false,
    recordedPeers: [],
  })) as [ClusterFacts, ClusterFacts, ClusterFacts];
}

function identity(spec: object): ClusterFacts['identities'][number] {
  const object: KubernetesObject = {
    apiVersion: 'spire.spiffe.io/v1alpha1',
    kind: 'ClusterSPIFFEID',
    metadata: { name: 'auto' },
    ...{ spec: { className: 'spire', spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/x', ...spec } },
  };
  return { ...readIdentity(object), createdAt: '', uid: 'uid', stats: {} };
}

function named(clusters: readonly ClusterFacts[]): string[] {
  return planAdoption(FEDERATION, clusters).findings.map(({ scope, name }) => `${name} of ${scope}`);
}

test('a sound federation is marked as it is, nothing is odd, and nothing has to be mended', () => {
  const { members, findings, mending, file, problems } = planAdoption(FEDERATION, [...scripted(), freshCluster('d')]);
  expect({ findings, mending, problems }).toEqual({ findings: [], mending: [], problems: [] });
  expect(file).toMatchObject({ clusters: NAMES, topology: 'mesh', relationships: 'static', refreshHintSeconds: 300 });
  expect(members.map(({ step }) => step.action)).toEqual(['change', 'change', 'change']);
  expect(members[0]?.request.objects.map(({ reference: { kind, metadata } }) => `${kind} ${metadata.name}`)).toEqual([
    'Service spire-server-federation',
    'Route spire-server-federation',
    'ClusterFederatedTrustDomain b.test',
    'ClusterFederatedTrustDomain c.test',
  ]);
});

test('a hub stays one: its spokes are not said to lack each other, and what is added later will trust the hub only', () => {
  const { members, findings, mending, file } = planAdoption(FEDERATION, scripted('b'));
  expect({ findings, mending }).toEqual({ findings: [], mending: [] });
  expect(file).toMatchObject({ clusters: NAMES, topology: 'hub', hub: 'b' });
  const marked = members.map(({ request }) =>
    request.objects.flatMap(({ annotations }) => (annotations === undefined ? [] : Object.values(annotations))),
  );
  expect(marked).toEqual([['b.test'], ['b.test', 'b.test'], ['b.test']]);
});

test('what is managed already is not marked again', () => {
  const { members } = planAdoption(FEDERATION, federatedClusters(FEDERATION, NAMES));
  expect(members.map(({ step }) => step.action)).toEqual(['none', 'none', 'none']);
});

test('clusters that trust nobody and are trusted by nobody belong to no federation', () => {
  expect(planAdoption(FEDERATION, NAMES.map(freshCluster)).members).toEqual([]);
});

test.each<{ odd: string; change: (facts: ClusterFacts) => Partial<ClusterFacts>; finds: string[]; mends: RegExp }>([
  {
    odd: 'a member without its return edge',
    change: ({ serverConf, storedBundles }) => ({
      relationships: [],
      serverConf: { ...serverConf, federatesWith: {} },
      storedBundles: Object.fromEntries(Object.entries(storedBundles).slice(0, 0)),
    }),
    finds: ['missing-edge of a', 'missing-edge of a'],
    mends: /applyRelationships\/a/,
  },
  {
    odd: 'a peer that federates_with is keyed by URL for',
    change: ({ serverConf }) => ({
      serverConf: {
        ...serverConf,
        federatesWith: Object.fromEntries(
          Object.entries(serverConf.federatesWith).map(([key, entry]) => [
            key === 'b.test' ? 'https://federation.b.test' : key,
            entry,
          ]),
        ),
      },
    }),
    finds: ['federates-with-key of a'],
    mends: /editServerConf\/a/,
  },
  {
    odd: 'a relationship without a class',
    change: ({ relationships }) => ({
      relationships: relationships.map(({ className, ...each }) =>
        each.trustDomain === 'b.test' || className === undefined ? each : { ...each, className },
      ),
    }),
    finds: ['class-name of a'],
    mends: /applyRelationships\/a/,
  },
  {
    odd: 'an identity that federates with its own trust domain',
    change: () => ({ identities: [identity({ federatesWith: ['a.test', 'b.test', 'c.test'] })] }),
    finds: ['own-trust-domain of a'],
    mends: /applyPolicies\/a/,
  },
  {
    odd: 'an identity that federates with a trust domain nobody knows',
    change: () => ({ identities: [identity({ federatesWith: ['b.test', 'c.test', 'mars.test'] })] }),
    finds: ['unknown-trust-domain of a'],
    mends: /applyPolicies\/a/,
  },
  {
    odd: 'a bundle that is not stored',
    change: ({ storedBundles }) => ({
      storedBundles: Object.fromEntries(Object.entries(storedBundles).filter(([key]) => key !== 'c.test')),
    }),
    finds: ['stored-bundle of a'],
    mends: /^$/,
  },
])('$odd is found, and so is what mends it', ({ change, finds, mends }) => {
  const [a, ...rest] = scripted();
  const clusters = [{ ...a, ...change(a) }, ...rest];
  expect(named(clusters)).toEqual(finds);
  const { mending, problems } = planAdoption(FEDERATION, clusters);
  expect(problems).toEqual([]);
  expect(mending.map(({ id }) => id).join(' ')).toMatch(mends);
});

test('an identity with fields that no policy has stays as it is, and is said to', () => {
  const [a, ...rest] = scripted();
  const spec = { federatesWith: ['b.test', 'c.test'], admin: true, podSelector: { matchLabels: { 'a b': 'c' } } };
  const { members, findings, file } = planAdoption(FEDERATION, [{ ...a, identities: [identity(spec)] }, ...rest]);
  expect(members[0]?.request.objects.map(({ reference: { kind } }) => kind)).not.toContain('ClusterSPIFFEID');
  expect(file.policies).toEqual([]);
  expect(findings).toMatchObject([
    {
      name: 'policy-fields',
      scope: 'a',
      evidence: expect.stringMatching(/podSelector\.matchLabels\.a b, admin:/) as string,
    },
  ]);
});

/** Clusters that scripts federated, on some of which the ClusterSPIFFEID `auto` is, with the spec that is given. */
function withIdentities(specs: Record<string, object>): ClusterFacts[] {
  return scripted().map((facts) => {
    const spec = specs[facts.cluster];
    return spec === undefined ? facts : { ...facts, identities: [identity(spec)] };
  });
}

/** The ClusterSPIFFEIDs as adopt marks them, as the next reading finds them. */
function adoptedBy({ members }: ReturnType<typeof planAdoption>, clusters: readonly ClusterFacts[]): ClusterFacts[] {
  return clusters.map((facts) => {
    const marks = members.find(({ request }) => request.cluster === facts.cluster)?.request.objects ?? [];
    const identities = facts.identities.map((each) => {
      const mark = marks.find(({ reference }) => reference.kind === 'ClusterSPIFFEID');
      if (mark === undefined || each.object === undefined) return each;
      const metadata = { ...each.object.metadata, annotations: mark.annotations ?? {} };
      return { ...each, ...readIdentity(owned({ ...each.object, metadata }, FEDERATION)) };
    });
    return { ...facts, federation: FEDERATION, identities };
  });
}

/** What a setup makes of the ClusterSPIFFEIDs on each cluster. */
function specsAfterSetup(clusters: readonly ClusterFacts[]): Record<string, Record<string, unknown>> {
  const plan = planAdoption(FEDERATION, clusters);
  const policies = policiesOf(FEDERATION, adoptedBy(plan, clusters));
  expect(plan.file.policies).toEqual(policies);
  return Object.fromEntries(
    clusters.map((facts) => {
      const others = clusters.filter((each) => each !== facts);
      const [policy] = policies;
      if (policy === undefined) throw new Error('there is no policy');
      return [facts.cluster, renderPolicy(policy, facts, others, FEDERATION)['spec'] as Record<string, unknown>];
    }),
  );
}

test('identities of one name that were made for two become one policy of these two, and both keep their peer', () => {
  const spec = { federatesWith: ['a.test', 'b.test'] };
  const clusters = withIdentities({ a: spec, b: spec });
  expect(planAdoption(FEDERATION, clusters).file.policies).toMatchObject([{ name: 'auto', peers: ['a', 'b'] }]);
  expect(specsAfterSetup(clusters)).toMatchObject({
    a: { federatesWith: ['b.test'] },
    b: { federatesWith: ['a.test'] },
    c: { federatesWith: ['a.test', 'b.test'] },
  });
});

test('of identities of one name, none loses a peer that another one lacks', () => {
  const clusters = withIdentities({
    a: { federatesWith: ['b.test'] },
    b: { federatesWith: ['a.test', 'c.test'] },
    c: { federatesWith: ['b.test'] },
  });
  expect(specsAfterSetup(clusters)).toMatchObject({
    a: { federatesWith: ['b.test', 'c.test'] },
    b: { federatesWith: ['a.test', 'c.test'] },
    c: { federatesWith: ['a.test', 'b.test'] },
  });
});

test('where all federate with all, so will they with whoever comes later', () => {
  const all = { federatesWith: ['a.test', 'b.test', 'c.test'] };
  const clusters = withIdentities({ a: all, b: all });
  expect(planAdoption(FEDERATION, clusters).file.policies[0]).not.toHaveProperty('peers');
});

test("a cluster's own trust domain in a template becomes each cluster's own", () => {
  const of = (own: string) => ({
    spiffeIDTemplate: `spiffe://${own}/ns/{{.PodMeta.Namespace}}`,
    federatesWith: ['a.test', 'b.test', 'c.test'],
  });
  const clusters = withIdentities({ a: of('a.test'), b: of('b.test') });
  expect(planAdoption(FEDERATION, clusters).findings.map(({ name }) => name)).not.toContain('policy-differs');
  const template = 'spiffe://{{ .TrustDomain }}/ns/{{.PodMeta.Namespace}}';
  expect(Object.values(specsAfterSetup(clusters)).map(({ spiffeIDTemplate }) => spiffeIDTemplate)).toEqual([
    template,
    template,
    template,
  ]);
});

test('identities of one name that say the same in other words are one policy', () => {
  const federatesWith = ['a.test', 'b.test', 'c.test'];
  const clusters = withIdentities({
    a: { federatesWith, podSelector: { matchLabels: {} }, fallback: false },
    b: { federatesWith, spiffeIDTemplate: 'spiffe://{{.TrustDomain}}/x' },
  });
  const { findings, file } = planAdoption(FEDERATION, clusters);
  expect(findings.map(({ name }) => name)).not.toContain('policy-differs');
  expect(file.policies).toHaveLength(1);
});

test('identities of one name that select differently stay as they are, and it is said where and in what', () => {
  const federatesWith = ['a.test', 'b.test', 'c.test'];
  const clusters = withIdentities({
    a: { federatesWith },
    b: { federatesWith, podSelector: { matchLabels: { federated: 'true' } } },
    c: { federatesWith },
  });
  const { members, findings, mending, file } = planAdoption(FEDERATION, clusters);
  const marked = members.flatMap(({ request }) => request.objects.map(({ reference }) => reference.kind));
  expect(marked).not.toContain('ClusterSPIFFEID');
  expect({ mending, policies: file.policies }).toEqual({ mending: [], policies: [] });
  expect(findings.filter(({ name }) => name === 'policy-differs')).toMatchObject([
    { scope: 'b', about: 'auto', evidence: expect.stringMatching(/than that on a, c, in podSelector:/) as string },
  ]);
  // What is nobody's to mend is not said to be.
  const own = findings.filter(({ name }) => name === 'own-trust-domain');
  expect(own.map(({ remedy }) => remedy)).toEqual(Array(3).fill('Mend it by hand: it becomes no policy.'));
});

test('one that came later joins the policy of its name, unless it would lose a peer', () => {
  const first = withIdentities({ a: { federatesWith: ['b.test'] } });
  const managed = adoptedBy(planAdoption(FEDERATION, first), first);
  const withLater = (federatesWith: string[]) =>
    managed.map((facts) => (facts.cluster === 'b' ? { ...facts, identities: [identity({ federatesWith })] } : facts));
  const joined = planAdoption(FEDERATION, withLater(['a.test']));
  expect(joined.file.policies).toMatchObject([{ name: 'auto', peers: ['a', 'b'] }]);
  expect(joined.findings).toEqual([]);
  const apart = planAdoption(FEDERATION, withLater(['a.test', 'c.test']));
  expect(apart.findings).toMatchObject([
    { name: 'policy-differs', scope: 'b', evidence: expect.stringMatching(/of its name, in federatesWith:/) as string },
  ]);
});
