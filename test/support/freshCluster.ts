import type { Policy } from '../../src/contract/policy.js';
import { exposureStrategy } from '../../src/federation/exposure.js';
import { owned } from '../../src/federation/ownership.js';
import { exposureContext } from '../../src/federation/plan.js';
import { renderPolicy } from '../../src/federation/policy.js';
import { federatesWithEntry, wantedRelationship } from '../../src/federation/relationship.js';
import { trusts } from '../../src/federation/settings.js';
import type { ClusterFacts, IdentityFacts } from '../../src/contract/facts.js';

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
    profile: { type: 'https_spiffe', privateAuthority: false },
    container: { mountPaths: [], environment: [] },
    control: { type: 'configMap', told: 'it has no operator' },
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

/** A ClusterSPIFFEID of somebody else that gives nothing to anybody. */
export function identityFacts(facts: Partial<IdentityFacts> & Pick<IdentityFacts, 'name'>): IdentityFacts {
  return {
    createdAt: '',
    uid: 'uid',
    fallback: false,
    hint: '',
    spiffeIDTemplate: '',
    federatesWith: [],
    podSelector: {},
    namespaceSelector: {},
    stats: {},
    ...facts,
  };
}

/** Clusters as a setup with static relationships leaves them: all trust all, or with a hub it and the others. */
export function federatedClusters(federation: string, names: readonly string[], hub?: string): ClusterFacts[] {
  const fresh = names.map(freshCluster);
  const url = ({ cluster }: ClusterFacts) => `https://federation.${cluster}.test`;
  const hubDomain = fresh.find(({ cluster }) => cluster === hub)?.trustDomain;
  return fresh.map((facts) => {
    const peers = fresh.filter(({ cluster }) => trusts(hub, facts.cluster, cluster));
    const entries = peers.map((peer) => [peer.trustDomain, federatesWithEntry(peer.trustDomain, url(peer))]);
    return {
      ...facts,
      federation,
      endpointUrl: url(facts),
      endpointObjects: exposureStrategy('route')
        .objects(exposureContext(facts))
        .map((object) => ({
          ...owned(object, federation),
          ...(object.kind === 'Route' ? admitted(facts.cluster) : {}),
        })),
      serverConf: {
        trustDomain: facts.trustDomain,
        bundleEndpoint: { address: '0.0.0.0', port: 8443, refreshHint: '300s' },
        federatesWith: Object.fromEntries(entries) as ClusterFacts['serverConf']['federatesWith'],
      },
      serverConfRecorded: true,
      recordedPeers: peers.map(({ trustDomain }) => trustDomain),
      statefulSet: { portDeclared: true, portAdded: true, federationHash: 'hash', rolledOut: true },
      relationships: peers.map((peer) => wantedRelationship(facts, peer, url(peer), { federation, hub: hubDomain })),
      storedBundles: Object.fromEntries(peers.map((peer) => [peer.trustDomain, peer.bundle])),
    };
  });
}

/** The same clusters, which all trust all, with the policy on each. */
export function withPolicy(federation: string, clusters: readonly ClusterFacts[], policy: Policy): ClusterFacts[] {
  return clusters.map((facts) => {
    const peers = clusters.filter((peer) => peer !== facts);
    const object = renderPolicy(policy, facts, peers, federation);
    const { federatesWith } = object['spec'] as { federatesWith: string[] };
    const { name } = object.metadata;
    const identity = identityFacts({ name, className: facts.className, federatesWith, federation, policy, object });
    return { ...facts, identities: [{ ...identity, spiffeIDTemplate: 'x' }] };
  });
}

/** Status of a Route that its router has taken. */
function admitted(cluster: string): object {
  const conditions = [{ type: 'Admitted', status: 'True' }];
  return { status: { ingress: [{ host: `federation.${cluster}.test`, conditions }] } };
}
