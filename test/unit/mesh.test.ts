import { setupMeshInputSchema, type SetupInput } from '../../src/contract/change.js';
import type { ClusterFacts, RelationshipFacts } from '../../src/contract/facts.js';
import { planSetup, planSteps } from '../../src/federation/plan.js';
import { readRelationship, relationshipManifest, wantedRelationship } from '../../src/federation/relationship.js';
import { orphanChecks } from '../../src/federation/verify.js';
import { afterRemoval, planRemoval, removalSteps } from '../../src/federation/removal.js';
import { planTeardown } from '../../src/federation/teardown.js';
import { federationSettings, resolveSettings } from '../../src/federation/settings.js';
import { federatedClusters, freshCluster, identityFacts } from '../support/freshCluster.js';

const FEDERATION = 'demo';
const STATIC: SetupInput = {
  ...setupMeshInputSchema.parse({ federation: FEDERATION, probe: false }),
  relationships: 'static',
  refreshHintSeconds: 300,
};
const DYNAMIC: SetupInput = { ...STATIC, relationships: 'dynamic' };

function dynamic(clusters: readonly ClusterFacts[]): ClusterFacts[] {
  return clusters.map((facts) => ({
    ...facts,
    recordedPeers: [],
    serverConf: { ...facts.serverConf, federatesWith: {} },
  }));
}

function actions(steps: readonly { id: string; action: string }[]): string[] {
  return steps
    .filter(({ action }) => action !== 'none' && action !== 'check')
    .map(({ id, action }) => `${action} ${id}`);
}

const three = ['a', 'b', 'c'];

describe('a newcomer', () => {
  test('with dynamic relationships: only its own server restarts', () => {
    const plan = planSetup(DYNAMIC, [...dynamic(federatedClusters(FEDERATION, ['a', 'b'])), freshCluster('c')]);
    expect(actions(planSteps(plan))).toEqual([
      'create applyService/c',
      'create applyRoute/c',
      'change editServerConf/c',
      'restart rolloutServer/c',
      'create applyRelationships/a',
      'create applyRelationships/b',
      'create applyRelationships/c',
    ]);
    expect(plan.members.map(({ newcomer }) => newcomer)).toEqual([false, false, true]);
  });

  test('with static relationships: every server restarts once, and edges that work are not touched', () => {
    const plan = planSetup(STATIC, [...federatedClusters(FEDERATION, ['a', 'b']), freshCluster('c')]);
    expect(actions(planSteps(plan)).filter((each) => each.startsWith('restart'))).toEqual([
      'restart rolloutServer/a',
      'restart rolloutServer/b',
      'restart rolloutServer/c',
    ]);
    const edges = plan.members.flatMap((member) =>
      member.edges.map(({ trusting, trusted }) => `${trusting.cluster}←${trusted.cluster}`),
    );
    expect(edges).toEqual(['a←c', 'b←c', 'c←a', 'c←b']);
  });

  test('is probed against every member, and the members not against each other', () => {
    const plan = planSetup({ ...STATIC, probe: true }, [
      ...federatedClusters(FEDERATION, ['a', 'b']),
      freshCluster('c'),
    ]);
    expect(plan.probe.pairs.map(({ from, to }) => `${from}→${to}`)).toEqual(['a→c', 'b→c', 'c→a', 'c→b']);
  });

  test.each([
    { what: 'a trust domain that is taken', newcomer: { trustDomain: 'a.test' }, says: /same trust domain a\.test/ },
    { what: 'a SPIRE that is too old', newcomer: { spireVersion: '1.7.2' }, says: /runs SPIRE 1\.7\.2; 1\.8\.0/ },
  ])('with $what stands in the way', ({ newcomer, says }) => {
    const { problems } = planSetup(STATIC, [
      ...federatedClusters(FEDERATION, ['a', 'b']),
      { ...freshCluster('c'), ...newcomer },
    ]);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.message).toMatch(says);
  });
});

describe('a hub', () => {
  test('trusts all and is trusted by all; the others do not trust each other', () => {
    const plan = planSetup({ ...STATIC, hub: 'b' }, three.map(freshCluster));
    const edges = plan.members.flatMap((member) =>
      member.edges.map(({ trusting, trusted }) => `${trusting.cluster}←${trusted.cluster}`),
    );
    expect(edges).toEqual(['a←b', 'b←a', 'b←c', 'c←b']);
  });

  test('is read back from the members, also while it has but one spoke', () => {
    expect(federationSettings(FEDERATION, federatedClusters(FEDERATION, ['a', 'b'], 'b'))).toEqual({
      relationships: 'static',
      refreshHintSeconds: 300,
      hub: 'b',
    });
  });

  test('takes the place of a mesh: edges between the others end once their policies are without them', () => {
    const identity = { ...identityFacts({ name: 'theirs' }), federatesWith: ['c.test'] };
    const [a, b, c] = federatedClusters(FEDERATION, three) as [ClusterFacts, ClusterFacts, ClusterFacts];
    const plan = planSetup({ ...STATIC, hub: 'b' }, [{ ...a, identities: [identity] }, b, c]);
    expect(plan.problems).toEqual([]);
    expect(actions(planSteps(plan))).toEqual([
      'change editServerConf/a',
      'change editServerConf/c',
      'restart rolloutServer/a',
      'restart rolloutServer/c',
      'change applyRelationships/a',
      'change applyRelationships/b',
      'change applyRelationships/c',
      'delete endRelationships/a',
      'delete endRelationships/c',
    ]);
    expect(plan.members.map(({ ending }) => ending.edges.map(({ removed }) => removed))).toEqual([
      [{ name: 'c.test', trustDomain: 'c.test', keepBundle: true }],
      [],
      [{ name: 'a.test', trustDomain: 'a.test', keepBundle: false }],
    ]);
  });

  test('keeps the relationship of an edge to the hub to which somebody gave the trust domain of another spoke', () => {
    const [a, b, c] = federatedClusters(FEDERATION, three, 'b') as [ClusterFacts, ClusterFacts, ClusterFacts];
    const relationships = a.relationships.map((each) => ({ ...each, trustDomain: 'c.test' }));
    const plan = planSetup({ ...STATIC, hub: 'b' }, [{ ...a, relationships }, b, c]);
    expect(actions(planSteps(plan))).toEqual(['change applyRelationships/a']);
  });

  test('is left for a mesh as any member is added', () => {
    const plan = planSetup(STATIC, federatedClusters(FEDERATION, three, 'b'));
    expect(actions(planSteps(plan))).toContain('change applyRelationships/a');
    expect(plan.members.flatMap(({ ending }) => ending.edges)).toEqual([]);
  });
});

test('what is not asked for stays as the members have it', () => {
  const members = dynamic(federatedClusters(FEDERATION, three));
  expect(resolveSettings({}, FEDERATION, members)).toEqual({ relationships: 'dynamic', refreshHintSeconds: 300 });
  expect(resolveSettings({ relationships: 'static' }, FEDERATION, members).relationships).toBe('static');
  expect(resolveSettings({}, FEDERATION, three.map(freshCluster)).relationships).toBe('static');
});

test('of two relationships for one trust domain the older counts, and is not fought over', () => {
  const [a, b] = federatedClusters(FEDERATION, ['a', 'b']) as [ClusterFacts, ClusterFacts];
  const ours = a.relationships.map((each) => ({ ...each, createdAt: '2026-02-01T00:00:00Z' }));
  const { federation: _federation, ...rest } = ours[0] as ClusterFacts['relationships'][number];
  const older = { ...rest, name: 'theirs', createdAt: '2026-01-01T00:00:00Z', bundleEndpointURL: 'https://elsewhere' };
  const refused = planSetup(STATIC, [{ ...a, relationships: [...ours, older] }, b]);
  expect(refused.problems.map(({ message }) => message)).toEqual([expect.stringMatching(/theirs .*oldest one wins/)]);
  const younger = { ...older, createdAt: '2026-03-01T00:00:00Z' };
  expect(planSetup(STATIC, [{ ...a, relationships: [...ours, younger] }, b]).problems).toEqual([]);
});

describe('removing a cluster', () => {
  const members = federatedClusters(FEDERATION, three);

  test('the others forget it, then it is put back to what it was', () => {
    const plan = planRemoval(FEDERATION, members, ['c']);
    expect(actions(removalSteps(plan))).toEqual([
      'delete removeRelationships/a/removal',
      'delete removeRelationships/b/removal',
      'change editServerConf/a/removal',
      'restart rolloutServer/a/removal',
      'change editServerConf/b/removal',
      'restart rolloutServer/b/removal',
      'delete removeRelationships/c',
      'restart removeFederationFromServer/c',
      'delete deleteService/c',
      'delete deleteRoute/c',
    ]);
    expect(plan.remaining.map(({ wanted }) => Object.keys(wanted.federatesWith))).toEqual([['b.test'], ['a.test']]);
  });

  test('with dynamic relationships no server of those that stay restarts', () => {
    const steps = actions(removalSteps(planRemoval(FEDERATION, dynamic(members), ['c'])));
    expect(steps.filter((each) => each.startsWith('restart'))).toEqual(['restart removeFederationFromServer/c']);
  });

  test('one that cannot be asked is known by the trust domain that no member has', () => {
    const plan = planRemoval(FEDERATION, members.slice(0, 2), ['c']);
    expect(plan).toMatchObject({ withdrawn: ['c.test'], problems: [], leaving: [] });
    expect(plan.remaining.map(({ relationships }) => relationships)).toEqual([
      [{ name: 'c.test', trustDomain: 'c.test', keepBundle: false }],
      [{ name: 'c.test', trustDomain: 'c.test', keepBundle: false }],
    ]);
  });

  test('one of two ends the federation: the last member is not left alone with it', () => {
    const plan = planRemoval(FEDERATION, members.slice(0, 2), ['b']);
    expect(plan.remaining).toEqual([]);
    expect(plan.leaving.map(({ facts }) => facts.cluster)).toEqual(['a', 'b']);
  });

  test('one of two whose place another takes leaves the last member as it is', () => {
    const plan = planRemoval(FEDERATION, members.slice(0, 2), ['b'], true);
    expect(plan.leaving.map(({ facts }) => facts.cluster)).toEqual(['b']);
    expect(plan.remaining.map(({ facts, wanted }) => [facts.cluster, Object.keys(wanted.federatesWith)])).toEqual([
      ['a', []],
    ]);
    expect(afterRemoval(plan, FEDERATION).map(({ cluster }) => cluster)).toEqual(['a']);
  });

  test('the hub cannot be removed', () => {
    const { problems } = planRemoval(FEDERATION, federatedClusters(FEDERATION, three, 'b'), ['b']);
    expect(problems.map(({ message }) => message)).toEqual([
      expect.stringMatching(
        /b is the hub .* with b still in it: .* --topology hub --hub a \(or --topology mesh\).*teardown/,
      ),
    ]);
  });

  test('nor can a hub that cannot be asked: it would leave a mesh of members that trust nobody', () => {
    const spokes = federatedClusters(FEDERATION, three, 'b').filter(({ cluster }) => cluster !== 'b');
    const { problems } = planRemoval(FEDERATION, spokes, ['b']);
    expect(problems).toMatchObject([
      {
        cluster: 'b',
        message: expect.stringMatching(/^b is the hub .*teardown -- --federation demo --clusters a,c$/) as string,
      },
    ]);
  });

  test('a peer that has no address just now keeps the one that it is known by', () => {
    const [a, b, c] = members as [ClusterFacts, ClusterFacts, ClusterFacts];
    const { endpointUrl: _endpointUrl, ...unexposed } = b;
    const { remaining, problems } = planRemoval(FEDERATION, [a, unexposed, c], ['c']);
    expect(problems).toEqual([]);
    expect(remaining[0]?.wanted.federatesWith).toMatchObject({
      'b.test': { bundleEndpointUrl: 'https://federation.b.test' },
    });
  });

  test('what the inventory says otherwise of the endpoints is left to a setup, which tells all of it', () => {
    const [a, b, c] = members as [ClusterFacts, ClusterFacts, ClusterFacts];
    const moved: ClusterFacts = {
      ...b,
      endpointUrl: 'https://not-live.test',
      profile: {
        type: 'https_web',
        privateAuthority: false,
        wanted: { type: 'https_web', servingCertFile: { certFilePath: '/crt', keyFilePath: '/key' } },
      },
    };
    const { remaining } = planRemoval(FEDERATION, [a, moved, c], ['c']);
    expect(remaining[0]?.wanted.federatesWith).toEqual({ 'b.test': a.serverConf.federatesWith['b.test'] });
    expect(remaining[1]?.wanted.bundleEndpoint.profile).toBeUndefined();
  });

  test('a peer without any address stands in the way: SPIRE server does not start with an empty one', () => {
    const [a, b, c] = members as [ClusterFacts, ClusterFacts, ClusterFacts];
    const { endpointUrl: _endpointUrl, ...unexposed } = b;
    const forgetful = { ...a, serverConf: { ...a.serverConf, federatesWith: {} } };
    expect(planRemoval(FEDERATION, [forgetful, unexposed, c], ['c']).problems).toMatchObject([
      { cluster: 'a', message: expect.stringMatching(/no address of b .*setupMesh -- --federation demo$/) as string },
    ]);
    expect(planRemoval(FEDERATION, [forgetful, b, c], ['c']).problems).toEqual([]);
  });

  test('two that are gone for good go at once, by their trust domains, and only both of them', () => {
    const plan = (...named: string[]) => planRemoval(FEDERATION, members.slice(0, 1), ['gone'], false, named);
    expect(plan('b.test', 'c.test')).toMatchObject({ withdrawn: ['b.test', 'c.test'], problems: [] });
    expect(plan('b.test').problems.map(({ message }) => message)).toEqual([
      expect.stringMatching(/also trust c\.test.*--trust-domain b\.test,c\.test/),
    ]);
    expect(plan('b.test', 'c.test', 'a.test').problems.map(({ message }) => message)).toEqual([
      expect.stringMatching(/a\.test is that of a, which can be asked/),
    ]);
    expect(plan('b.test', 'c.test', 'd.test').problems.map(({ message }) => message)).toEqual([
      expect.stringMatching(/No member of federation \S+ trusts d\.test/),
    ]);
  });

  test('trust in what is of no member is found', () => {
    expect(orphanChecks(FEDERATION, members)).toEqual([]);
    expect(orphanChecks(FEDERATION, members.slice(0, 2)).map(({ scope, remedy }) => [scope, remedy])).toEqual([
      ['a', expect.stringMatching(/--unreachable --trust-domain c\.test/)],
      ['b', expect.stringMatching(/--trust-domain c\.test/)],
    ]);
  });

  test('a plan says of that trust that it leaves it alone, unless it puts it right or a member is only away', () => {
    const [a, b] = members.slice(0, 2) as [ClusterFacts, ClusterFacts];
    const leftAlone = (facts: ClusterFacts, options: object = {}) =>
      planSetup({ ...STATIC, ...options }, [facts, b]).leftAlone.filter((each) => each.endsWith('c.test'));
    expect(leftAlone({ ...a, relationships: [...a.relationships] })).toEqual([
      expect.stringMatching(
        /trusts c\.test, which is that of no member, on a\. .* --unreachable --trust-domain c\.test/,
      ),
      expect.stringMatching(/on b\. /),
    ]);
    expect(leftAlone(a, { absent: [{ cluster: 'c', trustDomain: 'c.test' }] })).toEqual([]);
    const edited = a.relationships
      .filter(({ trustDomain }) => trustDomain === 'b.test')
      .map((each) => ({ ...each, trustDomain: 'c.test' }));
    expect(leftAlone({ ...a, relationships: edited })).toEqual([expect.stringMatching(/on b\. /)]);
    // With another hub nobody puts that edge right.
    expect(leftAlone({ ...a, relationships: edited }, { hub: 'c' })).toHaveLength(2);
  });

  test('trust in two that are no members ends at once only', () => {
    const [a, b] = members.slice(0, 2) as [ClusterFacts, ClusterFacts];
    const remedies = orphanChecks(FEDERATION, [a]).map(({ remedy }) => remedy);
    expect(remedies).toHaveLength(2);
    for (const remedy of remedies) expect(remedy).toMatch(/--trust-domain b\.test,c\.test$/);
    expect(planRemoval(FEDERATION, [a], ['gone'], false, [b.trustDomain, 'c.test']).problems).toEqual([]);
  });

  test("a bundle that somebody else's identity federates with stays", () => {
    const [a, ...rest] = members as [ClusterFacts, ...ClusterFacts[]];
    const identity = identityFacts({ name: 'theirs', className: 'spire', federatesWith: ['c.test'] });
    const plan = planRemoval(FEDERATION, [{ ...a, identities: [identity] }, ...rest], ['c']);
    expect(plan.remaining[0]?.relationships).toMatchObject([{ trustDomain: 'c.test', keepBundle: true }]);
    expect(plan.leftAlone).toEqual([expect.stringMatching(/bundle of c\.test stored on a: ClusterSPIFFEID theirs/)]);
  });

  test('a bundle stays with a relationship of somebody else that takes over, which is named', () => {
    const [a, ...rest] = members as [ClusterFacts, ...ClusterFacts[]];
    const own = a.relationships.find(({ trustDomain }) => trustDomain === 'c.test') as RelationshipFacts;
    const { federation: _federation, ...theirs } = { ...own, name: 'theirs', createdAt: '2026-03-01T00:00:00Z' };
    const kept = [{ name: 'c.test', trustDomain: 'c.test', keepBundle: true }];
    const named = [
      'ClusterFederatedTrustDomain theirs on a: not made for this federation',
      expect.stringMatching(
        /^the bundle of c\.test stored on a: ClusterFederatedTrustDomain theirs, which is somebody/,
      ),
    ];
    const rivalled = { ...a, relationships: [...a.relationships, theirs] };
    const plan = planRemoval(FEDERATION, [rivalled, ...rest], ['c']);
    expect(plan.remaining[0]?.relationships).toEqual(kept);
    expect(plan.leftAlone).toEqual(expect.arrayContaining(named));
    const torn = planTeardown(FEDERATION, [rivalled]);
    expect(torn.members[0]?.relationships).toEqual(expect.arrayContaining(kept));
    expect(torn.leftAlone).toEqual(named.toReversed());
    // Stopped before it noted that the bundle stays.
    const stopped = { ...a, relationships: [theirs], pendingBundles: ['c.test'] };
    expect(planTeardown(FEDERATION, [stopped]).members[0]?.relationships).toEqual(kept);
    // SPIRE controller manager passes over one of another class.
    const passed = { ...a, relationships: [...a.relationships, { ...theirs, className: 'other' }] };
    const { remaining, leftAlone } = planRemoval(FEDERATION, [passed, ...rest], ['c']);
    expect(remaining[0]?.relationships).toMatchObject([{ keepBundle: false }]);
    expect(leftAlone).toEqual(named.slice(0, 1));
  });

  test('so does one that an identity of the federation federates with of which no policy can be read', () => {
    const [a, ...rest] = members as [ClusterFacts, ...ClusterFacts[]];
    const identity = identityFacts({ name: 'unread', federatesWith: ['c.test'], federation: FEDERATION });
    const probe = { ...identity, name: 'spire-federator-demo-probe-federated' };
    const plan = planRemoval(FEDERATION, [{ ...a, identities: [identity, probe] }, ...rest], ['c']);
    expect(plan.remaining[0]?.relationships).toMatchObject([{ trustDomain: 'c.test', keepBundle: true }]);
    expect(plan.leftAlone).toEqual([expect.stringMatching(/ClusterSPIFFEID unread, of which no policy can be read/)]);
    const probed = planRemoval(FEDERATION, [{ ...a, identities: [probe] }, ...rest], ['c']);
    expect(probed.remaining[0]?.relationships).toMatchObject([{ trustDomain: 'c.test', keepBundle: false }]);
  });

  test('one that was stopped goes on with the bundles whose relationships are gone', () => {
    const [a, ...rest] = members as [ClusterFacts, ...ClusterFacts[]];
    const relationships = a.relationships.filter(({ trustDomain }) => trustDomain !== 'c.test');
    const stopped = { ...a, relationships, pendingBundles: ['c.test'] };
    const removed = [{ name: 'c.test', trustDomain: 'c.test', keepBundle: false }];
    expect(planRemoval(FEDERATION, [stopped, ...rest], ['c']).remaining[0]?.relationships).toEqual(removed);
    const b = { ...rest[0], relationships: [] } as ClusterFacts;
    expect(planRemoval(FEDERATION, [stopped, b], ['c'])).toMatchObject({ withdrawn: ['c.test'], problems: [] });
    const alone = { ...a, relationships: [], pendingBundles: ['c.test'] };
    expect(planTeardown(FEDERATION, [alone]).members[0]?.relationships).toEqual(removed);
    // Come back as a newcomer, it does not find a bundle that others stored.
    const { federation: _federation, ...newcomer } = rest[1] as ClusterFacts;
    const left = { ...stopped, storedBundles: { 'c.test': newcomer.bundle } };
    expect(wantedRelationship(left, newcomer, '', { federation: FEDERATION }).storedBefore).toBeUndefined();
  });

  test('a bundle that was stored before the federation stays; one that it brought goes', () => {
    const [a, b, c] = members as [ClusterFacts, ClusterFacts, ClusterFacts];
    const of = { federation: FEDERATION };
    const stored = { ...a, relationships: [], storedBundles: { 'b.test': b.bundle, 'c.test': c.bundle } };
    // Between members the bundle is the federation's own, though somebody deleted the relationship.
    expect(wantedRelationship(stored, b, '', of).storedBefore).toBeUndefined();
    const { federation: _federation, ...newcomer } = c;
    const made = wantedRelationship(stored, newcomer, '', of);
    expect(made.storedBefore).toBe(true);
    const manifest = relationshipManifest(made, undefined, FEDERATION);
    expect(readRelationship(manifest)).toMatchObject({ storedBefore: true });
    const plan = planRemoval(FEDERATION, [{ ...a, relationships: [readRelationship(manifest)] }, b, c], ['c']);
    expect(plan.remaining[0]?.relationships).toMatchObject([{ trustDomain: 'c.test', keepBundle: true }]);
    expect(plan.leftAlone).toEqual(['the bundle of c.test stored on a: it was stored before the federation']);
  });
});
