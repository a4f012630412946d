import type { ClusterFacts } from '../../src/contract/facts.js';
import type { KubernetesObject, ManagedFields, ObjectMetadata } from '../../src/contract/kubernetes.js';
import { FEDERATION_LABEL, MANAGED_BY_LABEL } from '../../src/contract/names.js';
import type { Policy } from '../../src/contract/policy.js';
import { diagnoseFederation } from '../../src/federation/diagnosis.js';
import { readIdentity } from '../../src/federation/identity.js';
import { hasLostLabels } from '../../src/federation/ownership.js';
import { planSetup, planSteps } from '../../src/federation/plan.js';
import { renderPolicy } from '../../src/federation/policy.js';
import { readRelationship, relationshipManifest } from '../../src/federation/relationship.js';
import { federatedClusters } from '../support/freshCluster.js';

const FEDERATION = 'demo';
const POLICY: Policy = { type: 'label', name: 'p', labels: { app: 'x' } };

const APPLIED: ManagedFields = { manager: 'spire-federator', operation: 'Apply', fieldsV1: { 'f:spec': {} } };

/** The object as it is once somebody took its labels off, or others' with the same spec. */
function unlabelled(object: KubernetesObject, metadata: Partial<ObjectMetadata> = {}): KubernetesObject {
  const { labels: _labels, ...rest } = object.metadata;
  return { ...object, metadata: { ...rest, managedFields: [APPLIED], ...metadata } };
}

/** A pair of which the first has had something done to each of its objects. */
function edited(edit: (object: KubernetesObject) => KubernetesObject): ClusterFacts[] {
  const [a, b] = federatedClusters(FEDERATION, ['a', 'b']);
  if (a === undefined || b === undefined) throw new Error('two clusters were asked for');
  const policies = [a, b].map((facts) => renderPolicy(POLICY, facts, facts === a ? [b] : [a], FEDERATION));
  const [identity, other] = policies;
  if (identity === undefined || other === undefined) throw new Error('each has the policy');
  return [
    {
      ...a,
      endpointObjects: a.endpointObjects.map(edit),
      relationships: a.relationships.map((each) =>
        readRelationship(edit(relationshipManifest(each, '{"keys":[]}', FEDERATION))),
      ),
      identities: [readIdentity(edit(identity))],
    },
    { ...b, identities: [readIdentity(other)] },
  ];
}

function look(edit: (object: KubernetesObject) => KubernetesObject) {
  const clusters = edited(edit);
  const settings = { federation: FEDERATION, relationships: 'static', refreshHintSeconds: 300, probe: false } as const;
  const plan = planSetup(settings, clusters);
  const observed = clusters.map((facts) => ({ cluster: facts.cluster, facts, problems: [] }));
  return {
    steps: planSteps(plan)
      .filter(({ action }) => action !== 'none' && action !== 'check')
      .map(({ id, action }) => `${action} ${id}`),
    problems: plan.problems.map(({ about }) => about),
    leftAlone: plan.leftAlone.length,
    findings: diagnoseFederation(FEDERATION, observed).findings.map(
      ({ check, scope, action }) => `${action ?? 'person'} ${check}@${scope}`,
    ),
  };
}

test('what the engine made and lost its labels gets them again', () => {
  expect(look((object) => unlabelled(object))).toEqual({
    steps: ['change applyService/a', 'change applyRoute/a', 'change applyRelationships/a', 'change applyPolicies/a'],
    problems: [],
    leftAlone: 0,
    findings: ['restore service@a', 'restore route@a', 'restore policy@a', 'restore relationship@a←b'],
  });
});

test('what somebody else made with the same spec stays theirs', () => {
  const seen = look((object) => unlabelled(object, { managedFields: [{ ...APPLIED, manager: 'kubectl' }] }));
  expect(seen).toEqual({ steps: [], problems: [], leftAlone: 4, findings: [] });
});

test('what bears the label of another federation is left alone where it fits, and holds up nothing', () => {
  const labels = { [MANAGED_BY_LABEL]: 'spire-federator', [FEDERATION_LABEL]: 'other' };
  expect(look((object) => unlabelled(object, { labels }))).toEqual({
    steps: [],
    problems: [],
    leftAlone: 4,
    findings: [],
  });
});

test('what lost its labels and was changed besides takes a person, whoever made it', () => {
  const seen = look((object) => {
    const { kind } = object;
    const spec = object['spec'] as Record<string, unknown>;
    const edit: Record<string, object> = {
      Service: { selector: { app: 'stranger' } },
      Route: { to: { kind: 'Service', name: 'stranger' } },
      ClusterFederatedTrustDomain: { bundleEndpointURL: 'https://elsewhere.test' },
      ClusterSPIFFEID: { federatesWith: [] },
    };
    return unlabelled({ ...object, spec: { ...spec, ...edit[kind] } });
  });
  expect(seen.steps).toEqual([]);
  expect(seen.problems).toEqual(['service@a', 'route@a', 'relationship@a←b', 'policy@a/p']);
  expect(seen.findings).toEqual(['person service@a', 'person route@a', 'person policy@a', 'person relationship@a←b']);
});

test.each<[string, Partial<ObjectMetadata>]>([
  ['has them', { labels: { [MANAGED_BY_LABEL]: 'spire-federator', [FEDERATION_LABEL]: 'other' } }],
  ["bears another tool's", { labels: { [MANAGED_BY_LABEL]: 'Helm' } }],
  ['was only patched by the engine', { managedFields: [{ ...APPLIED, operation: 'Update' }] }],
  ['was only labelled by it', { managedFields: [{ ...APPLIED, fieldsV1: { 'f:metadata': {} } }] }],
])('an object that %s has not lost them', (_what, metadata) => {
  const object = { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec: {} };
  expect(hasLostLabels(unlabelled(object))).toBe(true);
  expect(hasLostLabels(unlabelled(object, metadata))).toBe(false);
});
