import type { ClusterReading, StoredBundle } from '../../src/contract/health.js';

type ServerReading = NonNullable<ClusterReading['server']>;

/** The trust domain of a cluster in these readings. */
export const domainOf = (cluster: string) => `${cluster}.test`;

/** What a cluster in which all is well stores of these others, in which nothing was rotated. */
export function storedOf(others: readonly string[]): Record<string, StoredBundle> {
  return Object.fromEntries(others.map((each) => [domainOf(each), { fingerprint: each, refreshHintSeconds: 60 }]));
}

/** A reading of a cluster in which all is well, but for these. */
export function clusterReading(cluster: string, readAt: number, but: Partial<ServerReading> = {}): ClusterReading {
  const server = {
    trustDomain: domainOf(cluster),
    ownFingerprint: cluster,
    storedDigest: 'stored',
    pollErrors: {},
    silent: {},
    polls: 1,
    startedAt: 1,
    configDigest: 'config',
    refreshHintSeconds: 60,
    ...but,
  };
  return { cluster, readAt, serverDown: false, server };
}
