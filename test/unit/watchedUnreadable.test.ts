import type { ClusterReading } from '../../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY } from '../../src/contract/monitor.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';

const NOW = Date.parse('2030-01-01T12:00:00Z');
const SETTINGS = {
  federation: 'f',
  clusters: ['a', 'b'],
  refreshHintSeconds: 300,
  repair: DEFAULT_REPAIR_POLICY,
};

/** A cluster that stores its peer's bundle, and is well. */
function well(cluster: 'a' | 'b', trustDomain = `${cluster}.test`): ClusterReading {
  const peer = cluster === 'a' ? 'b' : 'a';
  const server = {
    trustDomain,
    ownFingerprint: cluster,
    storedDigest: cluster,
    stored: { [`${peer}.test`]: { fingerprint: peer, refreshHintSeconds: 300 } },
    pollErrors: {},
    silent: {},
    polls: 1,
    startedAt: 1,
    configDigest: 'config',
    refreshHintSeconds: 300,
  };
  return { cluster, readAt: NOW, serverDown: false, server };
}

function failed(type: NonNullable<ClusterReading['problem']>['type'], message = 'as it was told'): ClusterReading {
  return { cluster: 'b', readAt: NOW, serverDown: false, problem: { type, message } };
}

function down(more: Partial<ClusterReading>): ClusterReading {
  return { ...failed('SpireUnavailable', 'there is no pod'), serverDown: true, ...more };
}

/** What is found after these readings, and that federation. */
function after(...readings: ClusterReading[]) {
  const watched = new WatchedFederation(SETTINGS, NOW);
  for (const each of [well('a'), well('b'), ...readings]) watched.take(each, NOW);
  watched.reconcile(NOW);
  return { watched, findings: watched.health(NOW).findings };
}

describe('a trust domain that differs from the one that a member was federated as', () => {
  const edited = well('b', 'other.test');

  test('is not taken over, and no peer is judged by it', () => {
    const { watched, findings } = after(edited, well('a'));
    expect(findings).toEqual([]);
    expect(watched.toMend([])).toMatchObject([{ trustDomain: 'a.test' }, { trustDomain: 'b.test' }]);
    expect(watched.health(NOW).counts).toMatchObject({ fresh: 2, broken: 0 });
  });

  test('is found on that cluster where it stays, for a person', () => {
    const { findings } = after(edited, edited, well('a'));
    expect(findings).toMatchObject([{ id: 'cluster@b', state: 'person' }]);
    expect(findings[0]?.evidence).toMatch(/is other\.test by server\.conf, and it was federated as b\.test/);
  });
});

test('a cluster that two readings could not reach is asked only for what is to be mended there', () => {
  expect(after(failed('ClusterUnreachable')).watched.unread).toEqual([]);
  expect(after(failed('Forbidden'), failed('Forbidden')).watched.unread).toEqual([]);
  const { watched } = after(failed('ClusterUnreachable'), failed('ClusterUnreachable'));
  const unread = { cluster: 'b', type: 'ClusterUnreachable', message: 'as it was told' };
  expect(watched.unread).toEqual([unread]);
  const finding = { check: 'stored-bundle', evidence: '', remedy: '' };
  expect(watched.toMend([{ ...finding, scope: 'a' }])).toMatchObject([{ cluster: 'a' }, { cluster: 'b', unread }]);
  const wholly = watched.toMend([{ ...finding, scope: 'a←b' }]);
  expect(wholly.map(({ cluster, unread: known }) => [cluster, known])).toEqual([
    ['a', undefined],
    ['b', undefined],
  ]);
  watched.take(well('b'), NOW);
  expect(watched.unread).toEqual([]);
});

test('a cluster that was never read is asked by every repair, for its peers must not forget it', () => {
  const watched = new WatchedFederation(SETTINGS, NOW);
  for (const each of [well('a'), failed('ClusterUnreachable'), failed('ClusterUnreachable')]) watched.take(each, NOW);
  expect(watched.unread).toHaveLength(1);
  expect(watched.toMend([]).flatMap(({ unread }) => unread ?? [])).toEqual([]);
});

test.each(['NotFound', 'ServerConfUnreadable', 'Unauthorized', 'Forbidden', 'BundleMismatch'] as const)(
  'a cluster that cannot be read, %s, twice in a row is found, until it can be',
  (type) => {
    expect(after(failed(type)).findings).toEqual([]);
    const { watched, findings } = after(failed(type), failed(type));
    expect(findings).toMatchObject([{ id: 'cluster@b', state: 'person', evidence: 'as it was told' }]);
    watched.take(well('b'), NOW);
    watched.reconcile(NOW);
    expect(watched.health(NOW).findings).toEqual([]);
  },
);

test.each(['ClusterUnreachable', 'KubernetesUnavailable', 'NoWorker', 'ExecFailed', 'NotReady'] as const)(
  'what may be over by itself, %s, is unknown and no finding, and ends a row of others',
  (type) => {
    const { watched, findings } = after(failed('Forbidden'), failed(type), failed('Forbidden'), failed(type));
    expect(findings).toEqual([]);
    expect(watched.health(NOW)).toMatchObject({ verdict: 'unknown', counts: { unknown: 2 } });
  },
);

test('what keeps a thorough look from being made is found once two in a row say so, and over with the next', () => {
  const { watched } = after();
  const refused = { check: 'cluster', scope: 'b', evidence: 'an annotation is broken', remedy: 'As said.' };
  const check = { name: 'cluster', scope: 'b', verdict: 'failed' as const, evidence: refused.evidence };
  const diagnosis = { federation: 'f', clusters: ['a', 'b'], verdict: 'failed' as const, members: [] };
  const found = (isRefused: boolean) => {
    const seen = isRefused ? { checks: [check], findings: [refused] } : { checks: [], findings: [] };
    watched.takeDiagnosis({ ...diagnosis, ...seen }, NOW);
    watched.reconcile(NOW);
    return watched.health(NOW).findings.map(({ id, state }) => ({ id, state }));
  };
  expect(found(true)).toEqual([]);
  expect(found(true)).toEqual([{ id: 'cluster@b', state: 'person' }]);
  expect(found(false)).toEqual([]);
  expect(found(true)).toEqual([]);
});

test('a SPIRE server that is not meant to run is found at once, one that may come back is not', () => {
  expect(after(down({})).findings).toEqual([]);
  const stopped = { why: 'StatefulSet spire-server is scaled to 0', remedy: 'kubectl scale' };
  const { watched, findings } = after(down({ stopped }));
  expect(findings).toMatchObject([
    { id: 'server-down@b', state: 'person', evidence: stopped.why, remedy: stopped.remedy },
  ]);
  watched.take(down({}), NOW);
  watched.reconcile(NOW);
  expect(watched.health(NOW).findings).toEqual([]);
});
