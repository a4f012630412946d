import type { ClusterFacts } from '../../src/contract/facts.js';
import { DEFAULT_REPAIR_POLICY, type MonitorSettings } from '../../src/contract/monitor.js';
import { policySchema } from '../../src/contract/policy.js';
import { diagnoseFederation, type ToldSettings } from '../../src/federation/diagnosis.js';
import { confirmedTopology, federationSettings, resolveSettings } from '../../src/federation/settings.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';
import { federatedClusters, withPolicy } from '../support/freshCluster.js';

const FEDERATION = 'demo';
const THREE = ['a', 'b', 'c'];
const MESH: ToldSettings = { topology: 'mesh' };

/** What is found, by its ID and by whether it is that the annotation is not the one that is wanted. */
function found(members: readonly ClusterFacts[], told?: ToldSettings): string[] {
  const observed = members.map((facts) => ({ cluster: facts.cluster, facts, problems: [] }));
  const policies = [policySchema.parse({ type: 'universal' })];
  return diagnoseFederation(FEDERATION, observed, policies, told).findings.map(
    ({ check, scope, evidence }) => `${check}@${scope}${evidence.includes('hub is') ? ': hub' : ''}`,
  );
}

function members(hub?: string): ClusterFacts[] {
  return withPolicy(FEDERATION, federatedClusters(FEDERATION, THREE, hub), policySchema.parse({ type: 'universal' }));
}

/** The annotation of the hub as somebody edited it, on the relationships of these clusters for these trust domains. */
function annotated(clusters: readonly ClusterFacts[], hub: string | undefined, ...edges: [string, string][]) {
  return clusters.map((facts) => ({
    ...facts,
    relationships: facts.relationships.map(({ hub: before, ...each }) => {
      const isEdited = edges.some(([on, of]) => on === facts.cluster && each.trustDomain === `${of}.test`);
      const value = isEdited ? hub : before;
      return value === undefined ? each : { ...each, hub: value };
    }),
  }));
}

describe.each(['b.test', 'typo.test'])('one edited annotation that says %s is the hub', (hub) => {
  const edited = annotated(members(), hub, ['a', 'b']);

  test('leaves a mesh a mesh, and is found as an edit, with a monitor and without', () => {
    expect(found(members())).toEqual([]);
    expect(found(edited)).toEqual(['relationship@a←b: hub']);
    expect(found(edited, MESH)).toEqual(['relationship@a←b: hub']);
  });

  test('is not what a change of the federation goes by', () => {
    expect(federationSettings(FEDERATION, edited).hub).toBeUndefined();
  });
});

test('where most of them are edited, a monitor that knows of a mesh still finds each', () => {
  const edges: [string, string][] = [
    ['a', 'b'],
    ['a', 'c'],
    ['c', 'a'],
    ['c', 'b'],
  ];
  const edited = annotated(members(), 'b.test', ...edges);
  expect(found(edited, MESH)).toEqual(edges.map(([a, b]) => `relationship@${a}←${b}: hub`));
});

test('a hub that the monitor knows stays the hub, whatever the annotations say', () => {
  const hub: ToldSettings = { topology: 'hub', hub: 'b' };
  const clusters = federatedClusters(FEDERATION, THREE, 'b');
  const edges: [string, string][] = [
    ['a', 'b'],
    ['b', 'a'],
    ['b', 'c'],
    ['c', 'b'],
  ];
  const relationships = (facts: ClusterFacts[]) => found(facts, hub).filter((id) => id.startsWith('relationship'));
  expect(relationships(clusters)).toEqual([]);
  for (const value of [undefined, 'a.test', 'typo.test'])
    expect(relationships(annotated(clusters, value, ...edges))).toEqual(
      edges.map(([a, b]) => `relationship@${a}←${b}: hub`),
    );
});

test('a monitor that was not told of the hub has no two others come to trust each other', () => {
  const clusters = federatedClusters(FEDERATION, THREE, 'b');
  expect(found(clusters, MESH).filter((id) => !id.startsWith('policy'))).toEqual([]);
  const settings = resolveSettings(confirmedTopology(FEDERATION, clusters, MESH), FEDERATION, clusters);
  expect(settings.hub).toBe('b');
});

test('a hub stays one where an edit, or another relationship, looks like that of a mesh', () => {
  const clusters = federatedClusters(FEDERATION, THREE, 'b');
  const edited = clusters.map((facts) =>
    facts.cluster === 'a'
      ? { ...facts, relationships: facts.relationships.map((each) => ({ ...each, trustDomain: 'typo.test' })) }
      : facts,
  );
  expect(confirmedTopology(FEDERATION, edited, MESH)).toEqual({});
  const lost = annotated(clusters, undefined, ['a', 'b'], ['b', 'a']);
  expect(federationSettings(FEDERATION, lost).hub).toBe('b');
});

test('a look at some of them that are not the hub misses nothing between these', () => {
  const some = federatedClusters(FEDERATION, THREE, 'b').filter(({ cluster }) => cluster !== 'b');
  expect(found(some).filter((id) => id.includes('←'))).toEqual([]);
});

test('a hub of which none of the others can be read is known by itself', () => {
  const observed = federatedClusters(FEDERATION, THREE, 'b').map(({ cluster, ...facts }) =>
    cluster === 'b' ? { cluster, facts: { cluster, ...facts }, problems: [] } : { cluster, problems: [] },
  );
  const { checks } = diagnoseFederation(FEDERATION, observed);
  expect(checks.map(({ scope }) => scope).filter((scope) => scope.includes('←'))).toEqual(['a←b', 'b←a', 'b←c', 'c←b']);
});

test('the monitor says how the federation is laid out', () => {
  const settings: MonitorSettings = {
    federation: FEDERATION,
    clusters: THREE,
    refreshHintSeconds: 60,
    repair: DEFAULT_REPAIR_POLICY,
  };
  const told = (more: Partial<MonitorSettings>) => new WatchedFederation({ ...settings, ...more }, 0).told;
  expect(told({})).toEqual({ refreshHintSeconds: 60, topology: 'mesh' });
  expect(told({ hub: 'b' })).toEqual({ refreshHintSeconds: 60, topology: 'hub', hub: 'b' });
});
