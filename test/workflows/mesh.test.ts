import { setTimeout as delay } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import {
  addClusterInputSchema,
  applyOptionsSchema,
  federationFileSchema,
  removeClusterInputSchema,
  setupMeshInputSchema,
  setupPairInputSchema,
  teardownInputSchema,
  type ChangeResult,
} from '../../src/contract/change.js';
import { federatedClusters } from '../support/freshCluster.js';
import { RecordedActivities, type Call } from '../support/recordedActivities.js';
import { failureMessage as failure, WorkflowEnvironment } from '../support/workflowEnvironment.js';

const FEDERATION = 'demo';
const QUICK = { timeouts: { attempts: 2 }, probe: false };

let environment: WorkflowEnvironment;
beforeAll(async () => {
  environment = await WorkflowEnvironment.start();
});
afterAll(async () => environment.stop());

const result = async (handle: WorkflowHandle) => (await handle.result()) as ChangeResult;

/** Members a, b of a federation, and cluster c, which is none. */
function twoAndOne(relationships: 'static' | 'dynamic' = 'static'): RecordedActivities {
  const recorded = new RecordedActivities('a', 'b', 'c');
  recorded.strangers = ['c'];
  for (const facts of federatedClusters(FEDERATION, ['a', 'b'])) {
    recorded.change(facts.cluster, facts);
    if (relationships === 'dynamic') {
      recorded.change(facts.cluster, {
        recordedPeers: [],
        serverConf: { ...facts.serverConf, federatesWith: {} },
      });
    }
  }
  return recorded;
}

/** How many of the given activities ever ran at once. */
function concurrency(recorded: RecordedActivities, matches: (call: Call) => boolean): () => number {
  let running = 0;
  let most = 0;
  recorded.interfere = async (call) => {
    if (!matches(call)) return;
    running++;
    most = Math.max(most, running);
    await delay(50);
    running--;
  };
  return () => most;
}

const isRestart = ({ name, cluster }: Call) =>
  (name === 'rolloutServer' || name === 'restoreServer') && cluster !== 'c';

describe('addCluster', () => {
  const input = addClusterInputSchema.parse({ federation: FEDERATION, ...QUICK });

  test('bare, it takes the one cluster that is no member; servers of members restart one at a time', async () => {
    const recorded = twoAndOne();
    const most = concurrency(recorded, isRestart);
    const outcome = await environment.run(recorded, 'addCluster', input, result);
    expect(outcome.members.map(({ cluster, restarted }) => ({ cluster, restarted }))).toEqual([
      { cluster: 'a', restarted: true },
      { cluster: 'b', restarted: true },
      { cluster: 'c', restarted: true },
    ]);
    expect(most()).toBe(1);
    for (const cluster of ['a', 'b', 'c']) {
      expect(
        recorded
          .facts(cluster)
          .relationships.map(({ trustDomain }) => trustDomain)
          .sort(),
      ).toEqual(['a.test', 'b.test', 'c.test'].filter((each) => each !== `${cluster}.test`));
    }
  });

  test('relationships are applied while servers restart: on the newcomer, and on a member that waits for its turn', async () => {
    const recorded = twoAndOne();
    const applied = (cluster: string) =>
      recorded.calls.some(({ name, cluster: at }) => name === 'applyRelationships' && at === cluster);
    recorded.interfere = async ({ id }) => {
      while (id === 'rolloutServer/a' && !(applied('b') && applied('c'))) await delay(10);
      while (id === 'rolloutServer/c' && !applied('c')) await delay(10);
    };
    await environment.run(recorded, 'addCluster', input, result);
    const names = recorded.calls.map(({ name, cluster }) => `${name} ${cluster}`);
    expect(names.indexOf('applyRelationships b')).toBeLessThan(names.indexOf('rolloutServer b'));
  });

  test('the relationships of a server that does not come back are removed once it runs as before', async () => {
    const recorded = twoAndOne();
    recorded.interfere = ({ id }) => {
      if (id === 'rolloutServer/b') throw ApplicationFailure.nonRetryable('it does not start', 'TimedOut');
    };
    expect(await environment.run(recorded, 'addCluster', input, failure)).toBe(
      'it does not start\nEvery cluster is as it was before.',
    );
    const undone = (at: string) =>
      recorded.calls
        .filter(({ name, cluster }) => cluster === at && ['removeRelationships', 'restoreServer'].includes(name))
        .map(({ name }) => name);
    expect(undone('a')).toEqual(['removeRelationships', 'restoreServer']);
    expect(undone('b')).toEqual(['restoreServer', 'removeRelationships']);
  });

  test('more may restart at once when that is asked for', async () => {
    const recorded = twoAndOne();
    const most = concurrency(recorded, isRestart);
    await environment.run(recorded, 'addCluster', { ...input, maxUnavailable: 2 }, result);
    expect(most()).toBe(2);
  });

  test('with dynamic relationships only the newcomer restarts', async () => {
    const recorded = twoAndOne('dynamic');
    await environment.run(recorded, 'addCluster', input, result);
    const of = (...names: string[]) => recorded.calls.filter(({ name }) => names.includes(name));
    expect(of('configureServer', 'rolloutServer').map(({ cluster }) => cluster)).toEqual(['c', 'c']);
  });

  test('what was seen to have arrived is not asked for again at once, and is before the change', async () => {
    const recorded = twoAndOne('dynamic');
    await environment.run(recorded, 'addCluster', input, result);
    expect(recorded.reused).toMatchObject({
      'readFacts/a': undefined,
      'verify/all/read a': 'of a',
      'verify/all/read b': 'of b',
      'verify/all/read c': 'of c',
    });
  });

  test('a key that a member makes meanwhile is fetched by those that had all of them before', async () => {
    const recorded = twoAndOne('dynamic');
    recorded.interfere = ({ id }) => {
      if (id !== 'readBundle/c') return;
      const { bundle } = recorded.facts('b');
      recorded.change('b', { bundle: { ...bundle, keyIds: [...bundle.keyIds, 'another'] } });
    };
    await environment.run(recorded, 'addCluster', input, result);
    expect(recorded.facts('a').storedBundles['b.test']?.keyIds).toContain('another');
    const fetched = recorded.calls.filter(({ id }) => id.startsWith('verify/all/bundles'));
    expect(fetched.map(({ name, cluster }) => [name, cluster])).toEqual([['awaitBundles', 'a']]);
  });

  test('a member of which it is not known whether it was restarted waits for its turn, and keeps no settled one', async () => {
    const recorded = twoAndOne('dynamic');
    recorded.change('a', { statefulSet: { portDeclared: true, portAdded: true, federationHash: 'another' } });
    const read = (cluster: string) =>
      recorded.calls.some((call) => call.name === 'readBundle' && call.cluster === cluster);
    recorded.interfere = async ({ id }) => {
      while (id === 'rolloutServer/a' && !read('b')) await delay(10);
    };
    await environment.run(recorded, 'addCluster', input, result);
    expect(read('a')).toBe(true);
  });

  test('a failure undoes what was done, still one member at a time, and ends no edge that was there', async () => {
    const recorded = twoAndOne();
    const most = concurrency(recorded, isRestart);
    const slow = recorded.interfere;
    recorded.interfere = async (call) => {
      if (call.id === 'verify/all/read c') throw ApplicationFailure.nonRetryable('no', 'Forbidden');
      await slow(call);
    };
    const message = await environment.run(recorded, 'addCluster', input, failure);
    expect(message).toBe('no\nEvery cluster is as it was before.');
    expect(most()).toBe(1);
    const undone = recorded.calls.filter(({ name }) => name === 'restoreServer').map(({ cluster }) => cluster);
    expect(undone.sort()).toEqual(['a', 'b', 'c']);
    expect(recorded.removed).toEqual({ a: ['c.test'], b: ['c.test'], c: ['a.test', 'b.test'] });
  });

  test('a member that cannot be reached keeps no other from being put back, and is put back when it can', async () => {
    const recorded = twoAndOne();
    const undone = (cluster: string, ...names: string[]) =>
      recorded.calls.some((call) => call.cluster === cluster && names.includes(call.name));
    recorded.interfere = ({ id, name, cluster }) => {
      if (id === 'verify/all/read c') throw ApplicationFailure.nonRetryable('no', 'Forbidden');
      const others = undone('b', 'restoreServer') && undone('c', 'restoreServer') && undone('c', 'restoreObject');
      if (cluster === 'a' && !others && name === 'restoreServer')
        throw ApplicationFailure.retryable('a does not answer', 'ClusterUnreachable');
    };
    const message = await environment.run(recorded, 'addCluster', input, failure);
    expect(message).toBe('no\nEvery cluster is as it was before.');
    expect(undone('a', 'restoreServer')).toBe(true);
  });

  test('says what there is to choose from when more than one could be meant', async () => {
    const recorded = new RecordedActivities('a', 'b', 'c', 'd');
    recorded.strangers = ['c', 'd'];
    expect(await environment.run(recorded, 'addCluster', input, failure)).toMatch(
      /2 clusters .* not members of federation demo: c, d\. Say which/,
    );
  });

  test('names the federations that there are when the one it was asked for is none', async () => {
    const recorded = new RecordedActivities('a', 'b', 'c', 'd');
    recorded.strangers = ['a', 'b', 'c', 'd'];
    recorded.elsewhere = { production: ['a', 'b'], staging: ['c', 'd'] };
    expect(await environment.run(recorded, 'addCluster', input, failure)).toBe(
      'No cluster of the inventory is a member of federation demo. There are: production (a, b); staging (c, d). Say which with --federation.',
    );
  });

  test('a member that cannot be asked stands in the way', async () => {
    const recorded = twoAndOne();
    recorded.unreachable = ['b'];
    expect(await environment.run(recorded, 'addCluster', input, failure)).toMatch(/b: .*It may be a member/);
  });
});

describe('setupMesh', () => {
  test('of some members means all of them: none is forgotten', async () => {
    const recorded = new RecordedActivities('a', 'b', 'c');
    for (const facts of federatedClusters(FEDERATION, ['a', 'b', 'c'])) recorded.change(facts.cluster, facts);
    const input = setupMeshInputSchema.parse({ federation: FEDERATION, clusters: ['a', 'b'], ...QUICK });
    const outcome = await environment.run(recorded, 'setupMesh', input, result);
    expect(outcome.changed).toBe(false);
    expect(outcome.members.map(({ cluster }) => cluster)).toEqual(['a', 'b', 'c']);
  });

  test('of clusters that are no members has the members with them', async () => {
    const recorded = twoAndOne();
    const input = setupMeshInputSchema.parse({ federation: FEDERATION, clusters: ['c', 'd'], ...QUICK });
    recorded.add('d');
    recorded.strangers.push('d');
    const { members } = await environment.run(recorded, 'setupMesh', input, result);
    expect(members.map(({ cluster }) => cluster).sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('a cluster that cannot be asked and that nobody trusts keeps nobody from being set up', async () => {
    const recorded = twoAndOne();
    recorded.add('d');
    recorded.unreachable = ['d'];
    const input = setupMeshInputSchema.parse({ federation: FEDERATION, clusters: ['a', 'b', 'c'], ...QUICK });
    const { members } = await environment.run(recorded, 'setupMesh', input, result);
    expect(members.map(({ cluster }) => cluster).sort()).toEqual(['a', 'b', 'c']);
  });

  test('setupPair of two others does not have all of them trust each other', async () => {
    const recorded = twoAndOne();
    recorded.add('d');
    recorded.strangers.push('d');
    const input = setupPairInputSchema.parse({ federation: FEDERATION, clusters: ['c', 'd'], ...QUICK });
    expect(await environment.run(recorded, 'setupPair', input, failure)).toMatch(
      /Federation demo has other members: a, b\. Nothing was changed\..*--clusters a,b,c,d/,
    );
    expect(new Set(recorded.names)).toEqual(new Set(['awaitNoRepair', 'readFacts', 'findMembers']));
  });

  test('bare, it takes the whole inventory; with a hub, only edges with the hub are made', async () => {
    const recorded = new RecordedActivities('a', 'b', 'c');
    recorded.strangers = ['a', 'b', 'c'];
    const input = setupMeshInputSchema.parse({ federation: FEDERATION, topology: 'hub', hub: 'b', ...QUICK });
    await environment.run(recorded, 'setupMesh', input, result);
    const trusted = (cluster: string) => recorded.facts(cluster).relationships.map(({ trustDomain }) => trustDomain);
    expect(recorded.reused['verify/all/read a']).toBe('of a');
    expect([trusted('a'), trusted('b'), trusted('c')]).toEqual([['b.test'], ['a.test', 'c.test'], ['b.test']]);
  });

  test('with a hub in the place of a mesh, edges between the others end last, and come back first in an undo', async () => {
    const recorded = new RecordedActivities('a', 'b', 'c');
    for (const facts of federatedClusters(FEDERATION, ['a', 'b', 'c'])) recorded.change(facts.cluster, facts);
    const input = setupMeshInputSchema.parse({ federation: FEDERATION, topology: 'hub', hub: 'b', ...QUICK });
    recorded.interfere = ({ id }) => {
      if (id === 'verify/all/read b') throw ApplicationFailure.nonRetryable('no', 'Forbidden');
    };
    expect(await environment.run(recorded, 'setupMesh', input, failure)).toBe('no\nEvery cluster is as it was before.');
    const ended = recorded.calls.findIndex(({ id }) => id === 'endRelationships/a');
    expect(recorded.reused).toMatchObject({ 'verify/all/read a': undefined });
    const names = (calls: readonly Call[]) =>
      calls.filter(({ cluster }) => cluster === 'a').map(({ name }) => name as string);
    expect(names(recorded.calls.slice(0, ended)).slice(-3)).toEqual(['readBundle', 'awaitBundles', 'awaitPolicies']);
    expect(names(recorded.calls.slice(ended))).toEqual([
      'removeRelationships',
      'readFacts',
      'applyRelationships',
      'awaitBundles',
      'removeRelationships',
      'restoreServer',
    ]);
    const trusted = recorded.facts('a').relationships.map(({ trustDomain, hub }) => `${trustDomain} ${hub}`);
    expect(trusted).toContain('c.test undefined');
    expect(trusted).toHaveLength(2);
  });
});

describe('removeCluster', () => {
  const three = () => {
    const recorded = new RecordedActivities('a', 'b', 'c');
    for (const facts of federatedClusters(FEDERATION, ['a', 'b', 'c'])) recorded.change(facts.cluster, facts);
    return recorded;
  };
  const input = removeClusterInputSchema.parse({ federation: FEDERATION, cluster: 'c', timeouts: { attempts: 2 } });

  test('the others forget it first, their servers restarting one at a time', async () => {
    const recorded = three();
    const most = concurrency(recorded, isRestart);
    const outcome = await environment.run(recorded, 'removeCluster', input, result);
    expect(outcome.changed).toBe(true);
    expect(most()).toBe(1);
    expect(recorded.removed).toEqual({ a: ['c.test'], b: ['c.test'], c: ['a.test', 'b.test'] });
    const names = recorded.calls.map(({ name, cluster }) => `${name} ${cluster}`);
    expect(names.indexOf('removeRelationships c')).toBeGreaterThan(names.lastIndexOf('rolloutServer b'));
  });

  test('after a server that does not come back, no other one is restarted', async () => {
    const recorded = three();
    let isDown = false;
    recorded.interfere = async ({ name, cluster }) => {
      // Whoever has forgotten the peer first is the first to restart.
      while (name === 'removeRelationships' && cluster === 'b' && !isDown) await delay(10);
      if (name !== 'rolloutServer' || cluster !== 'a') return;
      isDown = true;
      throw ApplicationFailure.nonRetryable('a is down', 'TimedOut');
    };
    expect(await environment.run(recorded, 'removeCluster', input, failure)).toBe(
      'a is down\nSPIRE server of a did not come back from its restart: no other one is restarted now.',
    );
    const configured = recorded.calls.filter(({ name }) => name === 'configureServer' || name === 'rolloutServer');
    expect(configured.map(({ name, cluster }) => `${name} ${cluster}`)).toEqual(['configureServer a']);
  });

  test('one that is gone for good is not touched, and what is left to do there is said', async () => {
    const recorded = three();
    recorded.unreachable = ['c'];
    const outcome = await environment.run(recorded, 'removeCluster', { ...input, unreachable: true }, result);
    expect(recorded.calls.filter(({ cluster }) => cluster === 'c')).toEqual([]);
    expect(recorded.removed).toEqual({ a: ['c.test'], b: ['c.test'] });
    expect(outcome.notes?.join('\n')).toMatch(/c \(c\.test\) was not touched.*teardown.*--clusters c/s);
  });

  test('of two that are gone for good, the one names the way in which both go at once', async () => {
    const recorded = new RecordedActivities('a', 'b', 'c', 'd');
    for (const facts of federatedClusters(FEDERATION, ['a', 'b', 'c', 'd'])) recorded.change(facts.cluster, facts);
    recorded.unreachable = ['c', 'd'];
    const said = await environment.run(recorded, 'removeCluster', { ...input, unreachable: true }, failure);
    expect(said).toMatch(/d: .*If it is gone for good, like c, .* --unreachable --trust-domain c\.test,d\.test$/);
    const [, named = ''] = /--trust-domain (\S+)$/.exec(said) ?? [];
    const both = { ...input, unreachable: true, trustDomains: named.split(',') };
    expect((await environment.run(recorded, 'removeCluster', both, result)).changed).toBe(true);
    expect(recorded.removed).toEqual({ a: ['c.test', 'd.test'], b: ['c.test', 'd.test'] });
  });

  test('one that nobody trusts has nothing that could be forgotten, and that is said', async () => {
    const recorded = twoAndOne();
    recorded.unreachable = ['c'];
    recorded.elsewhere = { production: ['d'] };
    const outcome = await environment.run(recorded, 'removeCluster', { ...input, unreachable: true }, result);
    expect(outcome).toMatchObject({
      changed: false,
      notes: [
        expect.stringMatching(/^No member of federation demo trusts .* nothing to forget of c\. .*--federation\.$/),
      ],
    });
  });

  test('a federation that is none is told from those that there are', async () => {
    const recorded = new RecordedActivities('a', 'b', 'c');
    recorded.strangers = ['a', 'b', 'c'];
    recorded.unreachable = ['c'];
    recorded.elsewhere = { production: ['a', 'b'] };
    const none =
      'No cluster of the inventory is a member of federation demo. There is: production (a, b). Say which with --federation.';
    expect(await environment.run(recorded, 'removeCluster', { ...input, unreachable: true }, failure)).toBe(none);
    recorded.unreachable = [];
    const bare = teardownInputSchema.parse({ federation: FEDERATION, timeouts: QUICK.timeouts });
    expect(await environment.run(recorded, 'teardown', bare, failure)).toBe(none);
    recorded.elsewhere = {};
    expect((await environment.run(recorded, 'teardown', bare, result)).changed).toBe(false);
    // All others have left before.
    recorded.unreachable = ['c'];
    const left = await environment.run(recorded, 'removeCluster', { ...input, unreachable: true }, result);
    expect(left).toMatchObject({ changed: false, notes: [expect.stringContaining('nothing to forget of c')] });
  });

  test('a cluster that is no member is said to be none', async () => {
    const recorded = twoAndOne();
    expect(await environment.run(recorded, 'removeCluster', input, failure)).toBe(
      'c is not a member of federation demo. Its members: a, b.',
    );
  });
});

describe('teardown of some', () => {
  const input = teardownInputSchema.parse({ federation: FEDERATION, clusters: ['c'], ...{ timeouts: QUICK.timeouts } });

  /** Members a, b and c; d is no member. */
  function three(): RecordedActivities {
    const recorded = new RecordedActivities('a', 'b', 'c', 'd');
    recorded.strangers = ['d'];
    for (const facts of federatedClusters(FEDERATION, ['a', 'b', 'c'])) recorded.change(facts.cluster, facts);
    return recorded;
  }

  test('leaves the others watched over, and says that they still trust what is gone', async () => {
    const recorded = three();
    const { notes = [] } = await environment.run(recorded, 'teardown', input, result);
    expect(recorded.names).toContain('watchOver');
    expect(recorded.names).not.toContain('stopWatching');
    expect(notes.join()).toMatch(/a, b still trust c \(c\.test\).*removeCluster .*--cluster c --unreachable/);
  });

  test('does not tell the monitor that one that cannot be asked is no member', async () => {
    const recorded = three();
    recorded.unreachable = ['b'];
    const { notes = [] } = await environment.run(recorded, 'teardown', input, result);
    expect(recorded.names).not.toContain('watchOver');
    expect(recorded.names).not.toContain('stopWatching');
    expect(notes.join()).toMatch(/as b could not be asked.*--clusters a,b/);
  });

  test('of all but one ends the watch', async () => {
    const recorded = three();
    await environment.run(recorded, 'teardown', { ...input, clusters: ['b', 'c'] }, result);
    expect(recorded.names).toContain('stopWatching');
  });
});

describe('applyFederation', () => {
  const file = federationFileSchema.parse({ federation: FEDERATION, clusters: ['a', 'b'] });
  const input = { ...file, ...applyOptionsSchema.parse({ federation: FEDERATION, ...QUICK }) };

  test('that fails after a member has left does not say that everything is as it was', async () => {
    const recorded = new RecordedActivities('a', 'b', 'c');
    for (const facts of federatedClusters(FEDERATION, ['a', 'b', 'c'])) recorded.change(facts.cluster, facts);
    recorded.interfere = ({ id }) => {
      if (id === 'verify/all/read b') throw ApplicationFailure.nonRetryable('no', 'Forbidden');
    };
    expect(await environment.run(recorded, 'applyFederation', input, failure)).toMatch(
      /^no\n.*\nBut c had left the federation before, which is not undone\.$/,
    );
    expect(recorded.removed).toMatchObject({ a: ['c.test'], b: ['c.test'], c: ['a.test', 'b.test'] });
  });
});

test('every history made here replays', async () => {
  expect(await environment.replayAll()).toBeGreaterThan(8);
});
