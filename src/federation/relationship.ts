import type { ClusterFacts, RelationshipFacts } from '../contract/facts.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import type { FederatesWith, ProfileType } from '../contract/serverConf.js';
import { HUB, STORED_BEFORE } from '../contract/names.js';
import { owned, owningFederation } from './ownership.js';

export const CFTD = { apiVersion: 'spire.spiffe.io/v1alpha1', kind: 'ClusterFederatedTrustDomain' } as const;

/** The SPIFFE ID with which SPIRE server authenticates its bundle endpoint (spire: pkg/common/idutil, ServerID). */
export function serverSpiffeId(trustDomain: string): string {
  return `spiffe://${trustDomain}/spire/server`;
}

/** Name of the ClusterFederatedTrustDomain for a peer. Trust domains may have underscores, object names may not. */
export function relationshipName(trustDomain: string): string {
  return trustDomain.replaceAll('_', '-');
}

/**
 * The relationship by which `trusting` comes to trust `peer`, whose endpoint is at `endpointUrl`.
 * @param of the federation, and the trust domain of its hub, where it has one
 */
export function wantedRelationship(
  trusting: ClusterFacts,
  peer: ClusterFacts,
  endpointUrl: string,
  of: { federation: string; hub?: string | undefined },
): RelationshipFacts {
  const { federation, hub } = of;
  // One that is ours keeps its name: an adopted one was named by others.
  const ours = ownRelationship(trusting, peer, federation);
  return {
    name: ours?.name ?? relationshipName(peer.trustDomain),
    trustDomain: peer.trustDomain,
    bundleEndpointURL: endpointUrl,
    profileType: peer.profile.type,
    ...(peer.profile.type === 'https_spiffe' ? { endpointSPIFFEID: serverSpiffeId(peer.trustDomain) } : {}),
    className: trusting.className,
    federation,
    ...(isStoredBefore(trusting, peer, ours, federation) ? { storedBefore: true } : {}),
    ...(hub === undefined ? {} : { hub }),
  };
}

/** What the federation made for a peer; by its name where somebody has given it a trust domain that does not fit it. */
export function ownRelationship(
  trusting: ClusterFacts,
  { trustDomain }: Pick<ClusterFacts, 'trustDomain'>,
  federation: string,
): RelationshipFacts | undefined {
  const own = trusting.relationships.filter((each) => each.federation === federation);
  const named = own.find(({ name }) => name === relationshipName(trustDomain));
  if (named?.trustDomain === trustDomain) return named;
  const isEdited = named !== undefined && named.name !== relationshipName(named.trustDomain);
  return own.find((each) => each.trustDomain === trustDomain) ?? (isEdited ? named : undefined);
}

/**
 * Whether a bundle of the peer was stored before the federation came. Between two members it is the federation's own,
 * also where the relationship that brought it has been deleted since.
 */
function isStoredBefore(
  trusting: ClusterFacts,
  peer: ClusterFacts,
  ours: RelationshipFacts | undefined,
  federation: string,
): boolean {
  if (ours !== undefined) return ours.storedBefore === true;
  const members = trusting.federation === federation && peer.federation === federation;
  return !members && trusting.storedBundles[peer.trustDomain] !== undefined;
}

/** The same relationship as a `federates_with` entry of server.conf. */
export function federatesWithEntry(
  trustDomain: string,
  bundleEndpointUrl: string,
  profile: ProfileType = 'https_spiffe',
): FederatesWith {
  return {
    bundleEndpointUrl,
    profile:
      profile === 'https_web' ? { type: profile } : { type: profile, endpointSpiffeId: serverSpiffeId(trustDomain) },
  };
}

/**
 * The manifest of a relationship. The bundle in it counts only when SPIRE controller manager creates the relationship:
 * it ignores later changes of it, but sends it again with any other change, so it must be current at every write.
 */
export function relationshipManifest(
  relationship: RelationshipFacts,
  bundle: string | undefined,
  federation: string,
): KubernetesObject {
  const { name, trustDomain, bundleEndpointURL, profileType, endpointSPIFFEID, className } = relationship;
  const { hub, storedBefore } = relationship;
  const annotations = {
    ...(hub === undefined ? {} : { [HUB]: hub }),
    ...(storedBefore === undefined ? {} : { [STORED_BEFORE]: 'true' }),
  };
  return owned(
    {
      ...CFTD,
      metadata: { name, ...(Object.keys(annotations).length === 0 ? {} : { annotations }) },
      spec: {
        trustDomain,
        bundleEndpointURL,
        bundleEndpointProfile: {
          type: profileType,
          ...(endpointSPIFFEID === undefined ? {} : { endpointSPIFFEID }),
        },
        ...(className === undefined ? {} : { className }),
        ...(bundle === undefined ? {} : { trustDomainBundle: bundle }),
      },
    },
    federation,
  );
}

interface RelationshipSpec {
  trustDomain?: string;
  bundleEndpointURL?: string;
  bundleEndpointProfile?: { type?: string; endpointSPIFFEID?: string };
  className?: string;
  trustDomainBundle?: string;
}

/** Reads a ClusterFederatedTrustDomain. */
export function readRelationship(object: KubernetesObject): RelationshipFacts {
  const spec = (object['spec'] ?? {}) as RelationshipSpec;
  const federation = owningFederation(object);
  const endpointSPIFFEID = spec.bundleEndpointProfile?.endpointSPIFFEID;
  const hub = object.metadata.annotations?.[HUB];
  return {
    name: object.metadata.name,
    createdAt: object.metadata.creationTimestamp ?? '',
    ...(hub === undefined ? {} : { hub }),
    ...(object.metadata.annotations?.[STORED_BEFORE] === undefined ? {} : { storedBefore: true }),
    trustDomain: spec.trustDomain ?? '',
    bundleEndpointURL: spec.bundleEndpointURL ?? '',
    profileType: spec.bundleEndpointProfile?.type ?? '',
    ...(endpointSPIFFEID === undefined ? {} : { endpointSPIFFEID }),
    ...(spec.className === undefined || spec.className === '' ? {} : { className: spec.className }),
    ...(federation === undefined ? {} : { federation }),
    // Kept only where an undo may have to restore it: others' relationships are never written.
    ...(federation === undefined || spec.trustDomainBundle === undefined
      ? {}
      : { trustDomainBundle: spec.trustDomainBundle }),
  };
}

/** What of a relationship differs from what is wanted, in the operator's words; empty when nothing does. */
export function relationshipDifferences(actual: RelationshipFacts, wanted: RelationshipFacts): string[] {
  const fields = ['trustDomain', 'bundleEndpointURL', 'profileType', 'endpointSPIFFEID', 'className', 'hub'] as const;
  return fields
    .filter((field) => actual[field] !== wanted[field])
    .map((field) => `${field} is ${actual[field] ?? 'missing'} instead of ${wanted[field] ?? 'none'}`);
}
