import type { ClusterFacts } from '../../src/contract/facts.js';

/** Facts of a cluster with SPIRE and nothing of a federation. */
export function freshCluster(cluster: string): ClusterFacts {
  return {
    cluster,
    namespace: 'spire',
    server: 'spire-server',
    trustDomain: `${cluster}.test`,
    spireVersion: '1.15.2',
    className: 'spire',
    exposure: { type: 'route' },
    bundle: { fingerprint: `SHA256:${cluster}`, keyIds: [`${cluster}-key`] },
    selector: { app: 'spire-server' },
    endpointObjects: [],
    serverConf: { trustDomain: `${cluster}.test`, federatesWith: {} },
    serverConfRecorded: false,
    recordedPeers: [],
    statefulSet: { portDeclared: false, portAdded: false },
    relationships: [],
    storedBundles: {},
    identities: [],
  };
}
