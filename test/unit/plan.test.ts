import fc from 'fast-check';
import { type PlannedStep, type SetupInput, setupMeshInputSchema } from '../../src/contract/change.js';
import type { ClusterFacts } from '../../src/contract/facts.js';
import type { KubernetesObject } from '../../src/contract/kubernetes.js';
import { worstVerdict, type Verdict } from '../../src/contract/verify.js';
import { exposureStrategy } from '../../src/federation/exposure.js';
import { covers, mergePatch, owned, withoutSecrets } from '../../src/federation/ownership.js';
import { exposureContext, planSetup, planSteps } from '../../src/federation/plan.js';
import { wantedRelationship } from '../../src/federation/relationship.js';
import { wantedFederation } from '../../src/federation/serverConfPlan.js';
import { memberSteps, planTeardown } from '../../src/federation/teardown.js';
import { federatedClusters, freshCluster, identityFacts } from '../support/freshCluster.js';
import { verifyFederation } from '../../src/federation/verify.js';

const FEDERATION = 'demo';
const input: SetupInput = {
  ...setupMeshInputSchema.parse({ federation: FEDERATION, clusters: ['a', 'b'] }),
  relationships: 'static',
  refreshHintSeconds: 300,
};

/** Two clusters as setupPair leaves them. */
function finished(): [ClusterFacts, ClusterFacts] {
  const [a, b] = federatedClusters(FEDERATION, ['a', 'b']);
  if (a === undefined || b === undefined) throw new Error('two clusters are two');
  return [a, b];
}

const IDENTITY = identityFacts({
  name: 'all',
  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/x',
  fallback: false,
  createdAt: '2026-01-01T00:00:00Z',
  uid: 'uid',
  stats: { podsSelected: 1, entriesToSet: 1 },
});

const actions = (steps: PlannedStep[]) => Object.fromEntries(steps.map(({ id, action }) => [id, action]));

test('two fresh clusters: everything is made, each server restarts once, every edge is proven', () => {
  const plan = planSetup(input, [freshCluster('a'), freshCluster('b')]);
  expect(plan).toMatchObject({ problems: [], leftAlone: [], changes: true });
  expect(actions(planSteps(plan))).toEqual({
    'applyService/a': 'create',
    'applyRoute/a': 'create',
    'applyService/b': 'create',
    'applyRoute/b': 'create',
    'editServerConf/a': 'change',
    'editServerConf/b': 'change',
    'rolloutServer/a': 'restart',
    'rolloutServer/b': 'restart',
    'readBundle/a': 'check',
    'readBundle/b': 'check',
    'applyRelationships/a': 'create',
    'applyRelationships/b': 'create',
    'awaitBundles/a': 'check',
    'awaitBundles/b': 'check',
    'applyPolicies/a': 'none',
    'awaitPolicies/a': 'none',
    'applyPolicies/b': 'none',
    'awaitPolicies/b': 'none',
    'verify/all': 'check',
    'deployProbe/a': 'create',
    'deployProbe/b': 'create',
    'probe/a→b': 'check',
    'probe/b→a': 'check',
    'removeProbe/a': 'delete',
    'removeProbe/b': 'delete',
  });
});

test('a finished federation: nothing to change, and no test workloads either', () => {
  const plan = planSetup(input, finished());
  expect(plan.changes).toBe(false);
  expect(new Set(planSteps(plan).map(({ action }) => action))).toEqual(new Set(['none', 'check']));
  expect(plan.probe.steps).toEqual([]);
});

test('a server that is not known to run its settings is looked at again', () => {
  const [a, b] = finished();
  const { rolledOut: _rolledOut, ...statefulSet } = a.statefulSet;
  expect(actions(planSteps(planSetup(input, [{ ...a, statefulSet }, b])))).toMatchObject({
    'rolloutServer/a': 'check',
    'rolloutServer/b': 'none',
  });
});

test('a drifted relationship is changed, and only that', () => {
  const [a, b] = finished();
  const [relationship] = a.relationships;
  if (relationship === undefined) throw new Error('no relationship');
  const { className: _className, ...withoutClass } = relationship;
  const plan = planSetup(input, [{ ...a, relationships: [withoutClass] }, b]);
  const changed = planSteps(plan).filter(({ action }) => !['none', 'check'].includes(action) && !/robe/.test(action));
  expect(changed.filter(({ id }) => !/[pP]robe/.test(id))).toMatchObject([
    { id: 'applyRelationships/a', action: 'change' },
  ]);
});

test('an own relationship whose trust domain was edited is put right, and one of others by that name stands in the way', () => {
  const [a, b] = finished();
  const relationships = a.relationships.map((each) => ({
    ...each,
    trustDomain: 'x.test',
    storedBefore: true as const,
  }));
  const edited = { ...a, relationships };
  const { problems, members } = planSetup(input, [edited, b]);
  expect(problems).toEqual([]);
  expect(members[0]?.edges).toMatchObject([
    { action: 'change', details: ['b.test: trustDomain is x.test instead of b.test'], before: relationships[0] },
  ]);
  const url = 'https://federation.b.test';
  expect(wantedRelationship(edited, b, url, { federation: FEDERATION })).toEqual({
    ...a.relationships[0],
    storedBefore: true,
  });
  const foreign = relationships.map(({ federation: _federation, ...rest }) => rest);
  expect(planSetup(input, [{ ...a, relationships: foreign }, b]).problems).toMatchObject([
    { cluster: 'a', type: 'ForeignObject' },
  ]);
});

test("somebody else's objects are left alone where they fit, and stand in the way where they do not", () => {
  const [a, b] = finished();
  const strange = a.endpointObjects.map((object) => ({ ...object, metadata: { name: object.metadata.name } }));
  expect(planSetup(input, [{ ...a, endpointObjects: strange }, b]).leftAlone).toHaveLength(2);
  const edge = strange.map((object) =>
    object.kind === 'Route' ? { ...object, spec: { tls: { termination: 'edge' } } } : object,
  );
  expect(planSetup(input, [{ ...a, endpointObjects: edge }, b]).problems).toMatchObject([
    { cluster: 'a', type: 'ForeignObject' },
  ]);
  const relationships = a.relationships.map(({ federation: _federation, ...rest }) => rest);
  expect(planSetup(input, [{ ...a, relationships }, b]).leftAlone).toHaveLength(1);
  const other = relationships.map((each) => ({ ...each, bundleEndpointURL: 'https://elsewhere' }));
  expect(planSetup(input, [{ ...a, relationships: other }, b]).problems).toMatchObject([
    { cluster: 'a', type: 'ForeignObject' },
  ]);
});

test('equal trust domains and members of another federation stand in the way, both said at once', () => {
  const twin = { ...freshCluster('b'), trustDomain: 'a.test', federation: 'other' };
  const { problems } = planSetup(input, [freshCluster('a'), twin]);
  expect(problems.map(({ type }) => type)).toEqual(['InvalidInput', 'Conflict']);
});

test('settings at the head of server.conf, where SPIRE would not find them, stand in the way of any that are written there', () => {
  const headed = (facts: ClusterFacts) => ({
    ...facts,
    serverConf: { ...facts.serverConf, federationFirst: true as const },
  });
  const { problems } = planSetup(input, [headed(freshCluster('a')), freshCluster('b')]);
  expect(problems).toMatchObject([
    {
      cluster: 'a',
      message: expect.stringMatching(/^a: federation is the first key of server .*kubectl -n/) as string,
    },
  ]);
  expect(planSetup(input, finished().map(headed)).problems).toEqual([]);
});

test('dynamic relationships leave federates_with alone', () => {
  expect(
    wantedFederation(
      freshCluster('a'),
      [{ trustDomain: 'b.test', endpointUrl: 'https://b', profile: 'https_spiffe' }],
      {
        ...input,
        relationships: 'dynamic',
      },
    ).federatesWith,
  ).toEqual({});
});

test('an endpoint that is configured elsewhere keeps its address and port', () => {
  const facts = {
    ...freshCluster('a'),
    serverConf: { trustDomain: 'a.test', federatesWith: {}, bundleEndpoint: { address: '10.0.0.1', port: 9443 } },
  };
  expect(wantedFederation(facts, [], input).bundleEndpoint).toEqual({
    address: '10.0.0.1',
    port: 9443,
    refreshHintSeconds: 300,
  });
  expect(exposureContext(facts).targetPort).toBe(9443);
});

test.each([
  ['port', { port: 9443 }],
  ['address', { address: '127.0.0.1' }],
  ['profile', { profile: { type: 'https_web', acme: { domainName: 'x.test', email: '', tosAccepted: true } } }],
] as const)('an endpoint whose %s was edited comes back as it was set up, and nothing else changes', (what, edit) => {
  const [a, b] = finished();
  const set = { ...a, recordedEndpoint: { address: '0.0.0.0', port: 8443 } };
  const { bundleEndpoint } = a.serverConf;
  const edited = { ...set, serverConf: { ...a.serverConf, bundleEndpoint: { ...bundleEndpoint, ...edit } } };
  const todo = (facts: ClusterFacts) =>
    planSteps(planSetup({ ...input, probe: false }, [facts, b])).filter(
      ({ action }) => action !== 'none' && action !== 'check',
    );
  expect(todo(set)).toEqual([]);
  const steps = todo(edited);
  expect(steps.map(({ id, action }) => `${action} ${id}`)).toEqual([
    'change editServerConf/a',
    'restart rolloutServer/a',
  ]);
  expect(steps[0]?.details?.join()).toMatch(what === 'profile' ? /profile is https_web/ : /not at 0\.0\.0\.0:8443/);
  const wrong = verifyFederation(FEDERATION, [set, b].map(observed)).filter(({ verdict }) => verdict !== 'ok');
  expect(wrong).toEqual([]);
  const found = verifyFederation(FEDERATION, [edited, b].map(observed)).filter(({ verdict }) => verdict !== 'ok');
  expect(found.map(({ name, scope }) => `${name}@${scope}`)).toEqual(['server-conf@a']);
});

test("a teardown takes what the federation made, in SPIRE's order, and nothing of others", () => {
  const [a] = finished();
  const foreign = { name: 'c.test', trustDomain: 'c.test', bundleEndpointURL: '', profileType: 'https_web' };
  const plan = planTeardown(FEDERATION, [{ ...a, relationships: [...a.relationships, foreign] }]);
  expect(plan.leftAlone).toEqual(['ClusterFederatedTrustDomain c.test on a: not made for this federation']);
  const [member] = plan.members;
  expect(member && memberSteps(member).map(({ id, action }) => `${action} ${id}`)).toEqual([
    'none removeProbe/a',
    'none removePolicies/a',
    'delete removeRelationships/a',
    'restart removeFederationFromServer/a',
    'delete deleteService/a',
    'delete deleteRoute/a',
  ]);
  expect(planTeardown(FEDERATION, [freshCluster('a')]).changes).toBe(false);
});

/** An object with other fields in its spec or another metadata. */
function mergedWith(object: KubernetesObject, { spec, ...rest }: Partial<KubernetesObject>): KubernetesObject {
  return { ...object, ...rest, spec: { ...(object['spec'] as object), ...(spec as object | undefined) } };
}

const FAULTS: { fault: string; change: (a: ClusterFacts) => Partial<ClusterFacts>; finds: string; verdict: Verdict }[] =
  [
    {
      fault: 'Route gone',
      change: (a) => ({ endpointObjects: a.endpointObjects.slice(0, 1) }),
      finds: 'route',
      verdict: 'failed',
    },
    {
      fault: 'Service that selects something else',
      change: (a) => ({
        endpointObjects: a.endpointObjects.map((object) =>
          object.kind === 'Service'
            ? mergedWith(object, { spec: { selector: { ...a.selector, stranger: 'true' } } })
            : object,
        ),
      }),
      finds: 'service',
      verdict: 'failed',
    },
    {
      fault: 'Ingress without its annotations',
      change: (a) => {
        const exposure = { type: 'ingress', host: 'a.test' } as const;
        const endpointObjects = exposureStrategy('ingress')
          .objects(exposureContext({ ...a, exposure }))
          .map((object) =>
            owned({ ...object, status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } } }, FEDERATION),
          )
          .map((object) => mergedWith(object, { metadata: { ...object.metadata, annotations: {} } }));
        return { exposure, endpointObjects };
      },
      finds: 'ingress',
      verdict: 'failed',
    },
    {
      fault: 'port gone',
      change: () => ({ statefulSet: { portDeclared: false, portAdded: false } }),
      finds: 'port',
      verdict: 'failed',
    },
    {
      fault: 'server.conf reverted',
      change: () => ({ serverConf: { trustDomain: 'a.test', federatesWith: {} } }),
      finds: 'server-conf',
      verdict: 'failed',
    },
    {
      fault: 'relationship for another trust domain',
      change: (a) => ({ relationships: a.relationships.map((each) => ({ ...each, trustDomain: 'x.test' })) }),
      finds: 'relationship',
      verdict: 'failed',
    },
    { fault: 'relationship gone', change: () => ({ relationships: [] }), finds: 'relationship', verdict: 'failed' },
    { fault: 'bundle gone', change: () => ({ storedBundles: {} }), finds: 'stored-bundle', verdict: 'failed' },
    {
      fault: 'bundle stale',
      change: () => ({ storedBundles: { 'b.test': { fingerprint: '', keyIds: ['old'] } } }),
      finds: 'stored-bundle',
      verdict: 'failed',
    },
    {
      fault: 'bundle with an old key besides',
      change: () => ({ storedBundles: { 'b.test': { fingerprint: '', keyIds: ['b-key', 'old'] } } }),
      finds: 'stored-bundle',
      verdict: 'warning',
    },
    {
      fault: 'own trust domain in a federatesWith',
      change: () => ({ identities: [{ ...IDENTITY, className: 'spire', federatesWith: ['a.test'] }] }),
      finds: 'identity',
      verdict: 'failed',
    },
    {
      fault: 'an identity without the class',
      change: () => ({ identities: [{ ...IDENTITY, federatesWith: ['b.test'] }] }),
      finds: 'identity',
      verdict: 'warning',
    },
    {
      fault: 'an identity that federates with a domain whose bundle is not stored',
      change: () => ({ identities: [{ ...IDENTITY, className: 'spire', federatesWith: ['c.test'] }] }),
      finds: 'identity',
      verdict: 'failed',
    },
    {
      fault: 'an identity that is masked',
      change: () => ({
        identities: [
          { ...IDENTITY, name: 'old', className: 'spire', federatesWith: [], createdAt: '2025-01-01T00:00:00Z' },
          { ...IDENTITY, className: 'spire', federatesWith: ['b.test'], stats: { podsSelected: 1, entriesMasked: 1 } },
        ],
      }),
      finds: 'identity',
      verdict: 'warning',
    },
  ];

function observed(facts: ClusterFacts) {
  return { cluster: facts.cluster, facts, observation: { federatedEntries: {} }, problems: [] };
}

test.each(FAULTS)(
  'verify: $fault is $finds, with a remedy, and nothing else is blamed',
  ({ change, finds, verdict }) => {
    const [a, b] = finished();
    expect(worstVerdict(verifyFederation(FEDERATION, [observed(a), observed(b)]))).toBe('ok');
    const checks = verifyFederation(FEDERATION, [observed({ ...a, ...change(a) }), observed(b)]);
    const wrong = checks.filter((check) => check.verdict !== 'ok');
    expect(wrong.map(({ name, verdict: each }) => ({ name, verdict: each }))).toEqual([{ name: finds, verdict }]);
    expect(wrong[0]?.remedy).toBeTruthy();
  },
);

test('what could not be looked at weighs more than what is merely odd', () => {
  const check = (verdict: Verdict) => ({ name: 'x', scope: 'a', verdict, evidence: '' });
  expect(worstVerdict([check('warning'), check('unknown')])).toBe('unknown');
  expect(worstVerdict([check('unknown'), check('failed')])).toBe('failed');
});

test('no private key of a Route, and no copy of it, goes any further', () => {
  const route = {
    apiVersion: 'route.openshift.io/v1',
    kind: 'Route',
    metadata: {
      name: 'r',
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'PRIVATE KEY', mine: 'stays' },
    },
    spec: { host: 'h', tls: { termination: 'edge', key: 'PRIVATE KEY', certificate: 'CERTIFICATE' } },
  };
  expect(withoutSecrets(route)).toEqual({
    ...route,
    metadata: { name: 'r', annotations: { mine: 'stays' } },
    spec: { host: 'h', tls: { termination: 'edge' } },
  });
});

test('a merge patch gives the target, whatever was there', () => {
  const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.integer(), { maxLength: 3 }));
  const object = fc.dictionary(
    fc.constantFrom('a', 'b', 'c'),
    fc.oneof(leaf, fc.dictionary(fc.constantFrom('d', 'e'), leaf)),
  );
  const apply = (value: unknown, patch: unknown): unknown => {
    if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
    const result = { ...(typeof value === 'object' && !Array.isArray(value) ? value : {}) } as Record<string, unknown>;
    for (const [key, each] of Object.entries(patch)) {
      if (each === null) delete result[key];
      else result[key] = apply(result[key], each);
    }
    return result;
  };
  fc.assert(
    fc.property(object, object, (current, target) => {
      expect(apply(current, mergePatch(current, target))).toEqual(target);
    }),
  );
});

test('covers: what is wanted must be there, what is there besides does not matter, lists must be as long', () => {
  expect(covers({ a: 1, b: { c: 2, d: 3 } }, { b: { c: 2 } })).toBe(true);
  expect(covers({ a: 1 }, { a: 1, b: undefined })).toBe(true);
  expect(covers({ a: 1 }, { b: 1 })).toBe(false);
  expect(covers([{ port: 1, protocol: 'TCP' }], [{ port: 1 }])).toBe(true);
  expect(covers([{ port: 1 }, { port: 2 }], [{ port: 1 }])).toBe(false);
});

describe('another exposure than before', () => {
  const steps = (exposure: ClusterFacts['exposure'], before: Partial<ClusterFacts> = {}) => {
    const [a, b] = finished();
    const { endpointUrl: _url, ...moved } = { ...a, ...before, exposure };
    return planSteps(planSetup(input, [moved, b])).filter(({ action }) => !['none', 'check'].includes(action));
  };

  test('the old way in goes last, when the peers know the new one', () => {
    const planned = steps({ type: 'ingress', host: 'federation.a.test' }).filter(({ id }) => !id.startsWith('deploy'));
    expect(actions(planned)).toEqual({
      'applyIngress/a': 'create',
      'editServerConf/b': 'change',
      'rolloutServer/b': 'restart',
      'applyRelationships/b': 'change',
      'deleteRoute/a': 'delete',
      'removeProbe/a': 'delete',
      'removeProbe/b': 'delete',
    });
    expect(planned.findIndex(({ id }) => id === 'deleteRoute/a')).toBeGreaterThan(
      planned.findIndex(({ id }) => id === 'applyRelationships/b'),
    );
  });

  test('a load balancer is kept until then, with its class and what its cloud was told', () => {
    const annotations = { 'example.com/internal': 'true' };
    const balanced = {
      ...finished()[0],
      exposure: { type: 'loadBalancer' as const, loadBalancerClass: 'nlb', annotations },
    };
    const endpointObjects = exposureStrategy('loadBalancer')
      .objects(exposureContext(balanced))
      .map((object) => owned(object, FEDERATION));
    const [a, b] = finished();
    const plan = planSetup(input, [{ ...a, endpointObjects, exposure: { type: 'route' } }, b]);
    const [member] = plan.members;
    expect(member?.objects.map(({ step, object }) => [step.id, step.action, object['spec']])).toMatchObject([
      ['applyService/a', 'none', { type: 'LoadBalancer', loadBalancerClass: 'nlb' }],
      ['applyRoute/a', 'create', {}],
    ]);
    expect(member?.objects[0]?.object.metadata.annotations).toEqual(annotations);
    expect(member?.obsolete).toMatchObject([
      { step: { id: 'narrowService/a', action: 'change' }, after: { spec: { type: 'ClusterIP' } } },
    ]);
  });
});

test('a cluster with one given address probes others and is not probed itself', () => {
  const given = { ...freshCluster('a'), exposure: { type: 'address' as const, url: 'https://a.test' } };
  const { probe } = planSetup(input, [given, freshCluster('b'), freshCluster('c')]);
  expect(probe.pairs.map(({ from, to }) => `${from}→${to}`)).toEqual(['a→b', 'a→c', 'b→c', 'c→b']);
  expect(probe.clusters.map(({ cluster }) => cluster)).toEqual(['a', 'b', 'c']);
});
