import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CHECKS, checkAnchor } from '../../src/contract/checks.js';
import type { ClusterFacts } from '../../src/contract/facts.js';
import { policySchema } from '../../src/contract/policy.js';
import { diagnoseFederation } from '../../src/federation/diagnosis.js';
import { federatedClusters, withPolicy } from '../support/freshCluster.js';

const FEDERATION = 'demo';

function look(change: (facts: ClusterFacts) => Partial<ClusterFacts>) {
  const [a, b] = federatedClusters(FEDERATION, ['a', 'b']);
  if (a === undefined || b === undefined) throw new Error('two clusters were asked for');
  const members = [{ ...a, ...change(a) }, b].map((facts) => ({
    cluster: facts.cluster,
    facts,
    observation: { federatedEntries: {} },
    problems: [],
  }));
  return diagnoseFederation(FEDERATION, members);
}

function diagnose(change: (facts: ClusterFacts) => Partial<ClusterFacts>): string[] {
  const { checks } = look(change);
  expect(checks.filter(({ name }) => CHECKS[name] === undefined)).toEqual([]);
  return checks.filter(({ verdict }) => verdict !== 'ok').map(({ name, scope }) => `${name} of ${scope}`);
}

test('every check has its heading in the runbook', () => {
  const runbook = readFileSync(path.resolve(__dirname, '../../docs/runbook.md'), 'utf8');
  const headings = [...runbook.matchAll(/^### (\S+)$/gm)].map(([, heading]) => heading);
  expect(headings.sort()).toEqual(Object.keys(CHECKS).sort());
  expect(checkAnchor('route')).toBe('docs/runbook.md#route');
});

test('of a federation as a setup leaves it nothing is wrong', () => {
  expect(diagnose(() => ({}))).toEqual([]);
});

test.each<[string, (facts: ClusterFacts) => Partial<ClusterFacts>]>([
  [
    'route of a',
    ({ endpointObjects }) => ({ endpointObjects: endpointObjects.filter(({ kind }) => kind !== 'Route') }),
  ],
  ['port of a', ({ statefulSet }) => ({ statefulSet: { ...statefulSet, portDeclared: false } })],
  ['relationship of a←b', () => ({ relationships: [] })],
  ['stored-bundle of a←b', () => ({ storedBundles: {} })],
  [
    'federates-with-key of a',
    ({ serverConf }) => ({
      serverConf: {
        ...serverConf,
        federatesWith: { ...serverConf.federatesWith, 'https://c.test': { unreadable: 'no profile' } },
      },
    }),
  ],
])('%s is named, and nothing else', (finds, change) => {
  expect(diagnose(change)).toEqual([finds]);
});

test('a member of which only the notes of the engine are left was removed on purpose: one finding, which waits', () => {
  const { findings } = look(({ statefulSet, serverConf: { bundleEndpoint: _gone, ...serverConf } }) => ({
    federation: FEDERATION,
    statefulSet: { ...statefulSet, federation: FEDERATION },
    endpointObjects: [],
    relationships: [],
    serverConf: { ...serverConf, federatesWith: {} },
  }));
  expect(findings.filter(({ scope }) => scope === 'a')).toMatchObject([
    { check: 'member-removed', needsApproval: expect.stringMatching(/on purpose/) as string },
  ]);
});

test.each([
  { managedRoute: 'true', finds: ['relationship'] },
  { managedRoute: 'false', finds: ['member-removed'] },
])(
  'the last relationship of a member whose operator has managedRoute "$managedRoute" is gone: $finds',
  ({ managedRoute, finds }) => {
    const federation = { bundleEndpoint: { profile: 'https_spiffe', refreshHint: 300 }, managedRoute };
    const written = { ...federation, managedRoute: 'true' };
    const { findings } = look(() => ({
      control: {
        type: 'operator',
        told: 'the inventory says so',
        federation,
        record: { federation: FEDERATION, before: null, written, peers: [] },
        complaints: [],
      },
      exposure: { type: 'managedRoute' },
      endpointObjects: [],
      relationships: [],
    }));
    const named = findings.filter(({ scope }) => scope.startsWith('a')).map(({ check }) => check);
    expect(named).toEqual(expect.arrayContaining(finds));
    expect(named.includes('member-removed')).toBe(finds.includes('member-removed'));
  },
);

describe('a hub that cannot be read', () => {
  const NAMES = ['a', 'b', 'hub', 'other'];
  const unread = (...away: string[]) =>
    federatedClusters(FEDERATION, NAMES, 'hub').map(({ cluster, ...facts }) =>
      away.includes(cluster)
        ? { cluster, problems: [{ cluster, type: 'ClusterUnreachable' as const, message: 'no answer' }] }
        : { cluster, facts: { cluster, ...facts }, observation: { federatedEntries: {} }, problems: [] },
    );

  test.each([[['hub']], [['hub', 'other']]])('does not make its spokes lack each other, with %j away', (away) => {
    const { checks, findings } = diagnoseFederation(FEDERATION, unread(...away));
    expect(checks.filter(({ verdict }) => verdict === 'failed')).toEqual([]);
    expect(findings).toEqual([]);
  });
});

describe('a policy while a member cannot be read', () => {
  const policy = policySchema.parse({ type: 'universal' });
  const name = 'all-workloads-auto-federated';

  /** What is said of the policy on `a`, of whose ClusterSPIFFEID this is made, with these members away. */
  function said(change: (facts: ClusterFacts) => ClusterFacts['identities'], away: Record<string, string | undefined>) {
    const members = withPolicy(FEDERATION, federatedClusters(FEDERATION, ['a', 'b', 'c']), policy).map((facts) => {
      const { cluster } = facts;
      if (!(cluster in away)) {
        const identities = cluster === 'a' ? change(facts) : facts.identities;
        return { cluster, facts: { ...facts, identities }, observation: { federatedEntries: {} }, problems: [] };
      }
      const trustDomain = away[cluster];
      const problems = [{ cluster, type: 'ClusterUnreachable' as const, message: 'no answer' }];
      return { cluster, problems, ...(trustDomain === undefined ? {} : { trustDomain }) };
    });
    const { checks, findings } = diagnoseFederation(FEDERATION, members, [policy]);
    return {
      checks: checks.filter((each) => each.name === 'policy').map(({ scope, verdict }) => `${scope} ${verdict}`),
      findings: findings.map(({ check, scope, evidence }) => `${check}@${scope}: ${evidence}`),
    };
  }
  const deleted = () => [];
  const edited = ({ identities }: ClusterFacts) =>
    identities.map((identity) => ({
      ...identity,
      ...(identity.object === undefined ? {} : { object: { ...identity.object, spec: { className: 'other' } } }),
    }));

  test('is judged by the trust domain that it is known by', () => {
    const away = { c: 'c.test' };
    expect(said(({ identities }) => identities, away)).toEqual({ checks: [], findings: [] });
    expect(said(deleted, away).findings).toEqual([`policy@a: ClusterSPIFFEID ${name} is missing`]);
    expect(said(edited, away).findings).toEqual([`policy@a: ClusterSPIFFEID ${name} is not what its policy says`]);
  });

  test('is only missed where not even that is known, and not as what can be mended now', () => {
    const away = { c: undefined };
    expect(said(edited, away)).toEqual({ checks: [], findings: [] });
    expect(said(deleted, away)).toEqual({ checks: ['a warning'], findings: [] });
  });
});

test('of hubs that may be any of several, the one is known by its trust domain', () => {
  const policy = policySchema.parse({ type: 'universal' });
  const members = federatedClusters(FEDERATION, ['a', 'b', 'c', 'hub'], 'hub').map(({ cluster, ...facts }) => {
    const problems = [{ cluster, type: 'ClusterUnreachable' as const, message: 'no answer' }];
    return ['b', 'hub'].includes(cluster)
      ? { cluster, trustDomain: `${cluster}.test`, problems }
      : { cluster, facts: { cluster, ...facts }, observation: { federatedEntries: {} }, problems: [] };
  });
  const { findings } = diagnoseFederation(FEDERATION, members, [policy]);
  expect(findings.map(({ check, scope }) => `${check}@${scope}`)).toEqual(['policy@a', 'policy@c']);
});

describe('a ClusterSPIFFEID that harms its workloads', () => {
  const policy = policySchema.parse({ type: 'universal' });
  const ids = (change: (facts: ClusterFacts) => Partial<ClusterFacts>) => {
    const members = withPolicy(FEDERATION, federatedClusters(FEDERATION, ['a', 'b']), policy).map((facts) => ({
      cluster: facts.cluster,
      facts: facts.cluster === 'a' ? { ...facts, ...change(facts) } : facts,
      observation: { federatedEntries: {} },
      problems: [],
    }));
    const { checks, findings } = diagnoseFederation(FEDERATION, members, [policy]);
    const named = (wrong: readonly { scope: string }[], nameOf: (index: number) => string | undefined) =>
      wrong.map(({ scope }, index) => `${nameOf(index)}@${scope}`).sort();
    const failed = checks.filter(({ verdict }) => verdict === 'failed');
    return {
      failed: named(failed, (index) => failed[index]?.name),
      found: named(findings, (index) => findings[index]?.check),
    };
  };
  const withOwnDomain = ({ identities, trustDomain }: ClusterFacts, name?: string) =>
    identities.map((each) => {
      const federatesWith = [...each.federatesWith, trustDomain];
      if (name !== undefined) return { ...each, name, federatesWith, federation: 'theirs' };
      const { object } = each;
      const spec = { ...(object?.['spec'] as object), federatesWith };
      return { ...each, federatesWith, ...(object === undefined ? {} : { object: { ...object, spec } }) };
    });

  test('takes no person where it is an edit of what the engine made, which it takes back', () => {
    expect(ids((facts) => ({ identities: withOwnDomain(facts) }))).toEqual({
      failed: ['identity@a', 'policy@a'],
      found: ['policy@a'],
    });
  });

  test('takes none where a bundle is missing, which is brought back', () => {
    expect(ids(() => ({ storedBundles: {} }))).toEqual({
      failed: ['identity@a', 'stored-bundle@a←b'],
      found: ['stored-bundle@a←b'],
    });
  });

  test('takes one where it names what no member brings back, whatever else is on its way', () => {
    const named = (facts: ClusterFacts) => {
      const theirs = facts.identities.map((each) => ({ ...each, name: 'theirs', federatesWith: ['foreign.test'] }));
      const late = Object.entries(facts.storedBundles).map(([domain, each]) => [domain, { ...each, keyIds: [] }]);
      return {
        identities: [...facts.identities, ...theirs.map(({ policy: _policy, ...each }) => each)],
        storedBundles: Object.fromEntries(late) as ClusterFacts['storedBundles'],
      };
    };
    expect(ids(named).found).toEqual(['identity@a', 'stored-bundle@a←b']);
  });

  test("takes one where it is somebody else's", () => {
    const identities = (facts: ClusterFacts) => [...facts.identities, ...withOwnDomain(facts, 'theirs')];
    expect(ids((facts) => ({ identities: identities(facts) })).found).toEqual(['identity@a']);
  });
});
