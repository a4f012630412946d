import { setupMeshInputSchema, type SetupInput } from '../../src/contract/change.js';
import type { ClusterFacts } from '../../src/contract/facts.js';
import { findingId } from '../../src/contract/health.js';
import { policySchema } from '../../src/contract/policy.js';
import { diagnoseFederation } from '../../src/federation/diagnosis.js';
import { planMending } from '../../src/federation/mending.js';
import { planSetup } from '../../src/federation/plan.js';
import { federatedClusters, identityFacts } from '../support/freshCluster.js';

const FEDERATION = 'demo';
const input: SetupInput = {
  ...setupMeshInputSchema.parse({ federation: FEDERATION, clusters: ['a', 'b'] }),
  relationships: 'static',
  refreshHintSeconds: 300,
};
const finding = { check: 'service', scope: 'a', evidence: '', remedy: '', action: 'restore' as const };

/** What is done about the Service of `a`, which has a node port, when `b` knows `a` at `knownAt`. */
function mendService(
  knownAt: (url: string) => string,
  change: Partial<ClusterFacts> = {},
): [string, string, unknown][] {
  const [a, b] = federatedClusters(FEDERATION, ['a', 'b']);
  if (a === undefined || b === undefined) throw new Error('two clusters were asked for');
  const edited: ClusterFacts = {
    ...a,
    ...change,
    endpointObjects: a.endpointObjects.map((object) =>
      object.kind === 'Service' ? { ...object, spec: { ...(object['spec'] as object), type: 'NodePort' } } : object,
    ),
  };
  const relationships = b.relationships.map((each) => ({
    ...each,
    bundleEndpointURL: knownAt(each.bundleEndpointURL),
  }));
  const plan = planSetup(input, [edited, { ...b, relationships }]);
  const [mending] = planMending(plan, [finding]);
  return (mending?.member.objects ?? [])
    .filter(({ object }) => object.kind === 'Service')
    .map(({ step, object }) => [step.id, step.action, (object['spec'] as { type?: string }).type]);
}

test('a Service loses the node port that somebody gave it where every peer knows the other address', () => {
  expect(mendService((url) => url)).toEqual([['narrowService/a', 'change', 'ClusterIP']]);
});

test('it keeps it where a peer may still use it, also while the way in that is to come has no address', () => {
  expect(mendService(() => 'https://192.0.2.1:30443')).toEqual([['applyService/a', 'none', 'NodePort']]);
  const endpointUrl = 'https://192.0.2.1:30443';
  const exposure = { type: 'ingress', host: 'a.test' } as const;
  expect(mendService(() => endpointUrl, { endpointUrl, exposure })).toEqual([['applyService/a', 'none', 'NodePort']]);
});

test("somebody else's object stands in the way of what is about it, and of nothing else on that member", () => {
  const [a, b, c] = federatedClusters(FEDERATION, ['a', 'b', 'c']);
  if (a === undefined || b === undefined || c === undefined) throw new Error('three clusters were asked for');
  const { federation: _federation, ...stranger } = a.relationships[0] ?? { name: '', trustDomain: '' };
  const foreign = { ...stranger, bundleEndpointURL: 'https://elsewhere.test' } as (typeof a.relationships)[0];
  const route = a.endpointObjects.map((object) =>
    object.kind === 'Route' ? { ...object, metadata: { name: object.metadata.name }, spec: {} } : object,
  );
  const plan = planSetup(input, [{ ...a, endpointObjects: route, relationships: [foreign] }, b, c]);
  const found = (check: string, scope: string) => ({ ...finding, check, scope });
  const service = found('service', 'a');
  const missing = found('relationship', 'a←c');
  const held = [found('route', 'a'), found('wrongProfile', 'a←b')];
  const mendings = planMending(plan, [service, ...held, missing]);
  expect(mendings.map(({ findings }) => findings)).toEqual([[service, missing], held]);
  expect(mendings.map(({ edges }) => edges.map(({ trusted }) => trusted.cluster))).toEqual([['c'], expect.anything()]);
  expect(mendings.map(({ problems }) => problems.length)).toEqual([0, 2]);
});

test("somebody else's ClusterSPIFFEID with a policy's name hides no other policy that is gone, and holds up none", () => {
  const policies = ['gone', 'theirs'].map((name) => policySchema.parse({ type: 'label', name }));
  const clusters = federatedClusters(FEDERATION, ['a', 'b']).map((facts) =>
    facts.cluster === 'a' ? { ...facts, identities: [identityFacts({ name: 'theirs' })] } : facts,
  );
  const members = clusters.map((facts) => ({ cluster: facts.cluster, facts, problems: [] }));
  const { findings } = diagnoseFederation(FEDERATION, members, policies);
  const onA = findings.filter(({ scope }) => scope === 'a');
  expect(onA.map((each) => [findingId(each), each.action])).toEqual([
    ['policy@a', 'restore'],
    ['policy@a/theirs', undefined],
  ]);
  const plan = planSetup({ ...input, policies }, clusters);
  const [mending] = planMending(
    plan,
    onA.filter(({ action }) => action !== undefined),
  );
  expect(mending?.problems).toEqual([]);
  expect(mending?.member.policies.objects.map(({ object }) => object.metadata.name)).toEqual(['gone']);
});
