import type { ClusterFacts, RelationshipFacts } from '../contract/facts.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import type { FederatesWith, ProfileType } from '../contract/serverConf.js';
import { HUB, STORED_BEFORE } from '../contract/names.js';
import { hasLostLabels, owned, owningFederation } from './ownership.js';

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

export const LOST_LABELS = 'has lost the labels of spire-federator';

/** What there is on a cluster for its trust in a peer. */
export type Standing =
  | { state: 'missing' }
  /** It does what is wanted of it; `others` for the same trust domain come to nothing. */
  | { state: 'right'; relationship: RelationshipFacts; others: number }
  /** The federation's own, which can be put right. */
  | { state: 'wrong'; relationship: RelationshipFacts; differences: string[] }
  /** Somebody else's is in the way. */
  | { state: 'foreign'; relationship: RelationshipFacts; why: string; remedy: string };

/**
 * How a cluster stands to a peer by its ClusterFederatedTrustDomains.
 * @param wanted what wantedRelationship says
 */
export function relationshipStanding(
  trusting: ClusterFacts,
  trusted: ClusterFacts,
  wanted: RelationshipFacts,
  federation: string,
): Standing {
  const own = ownRelationship(trusting, trusted, federation);
  const differences = own === undefined ? [] : relationshipDifferences(own, wanted);
  const isLost = own?.lostLabels === true;
  if (own !== undefined && isLost && differences.length === 0)
    return { state: 'wrong', relationship: own, differences: [LOST_LABELS] };
  // Without its labels, one that differs may as well be somebody else's by now.
  if (own !== undefined && !isLost && differences.length > 0) return { state: 'wrong', relationship: own, differences };
  const considered = consideredRelationships(trusting, trusted.trustDomain);
  const [first] = considered;
  if (first === undefined) {
    const namesake = trusting.relationships.find(({ name }) => name === wanted.name);
    if (namesake === undefined) return { state: 'missing' };
    const why =
      namesake.trustDomain === wanted.trustDomain
        ? `SPIRE controller manager passes it over: ${namesake.invalid ?? `className is ${namesake.className ?? 'missing'}`}`
        : `it is for another trust domain, ${namesake.trustDomain}`;
    return { state: 'foreign', relationship: namesake, why, remedy: 'Rename or delete it.' };
  }
  // Others' know nothing of hubs, and need not.
  const { hub: _hub, ...fields } = wanted;
  const odd = first.federation === federation ? [] : relationshipDifferences(first, fields);
  if (odd.length === 0 && first.bundleless === true && trusting.storedBundles[trusted.trustDomain] === undefined) {
    const why = 'it brings no bundle, and none is stored: SPIRE server cannot authenticate the bundle endpoint';
    // SPIRE controller manager sends a bundle that is added later only with another change.
    const remedy = 'Delete it: spire-federator makes its own. Or make it anew, with a trustDomainBundle.';
    return { state: 'foreign', relationship: first, why, remedy };
  }
  return odd.length === 0
    ? { state: 'right', relationship: first, others: considered.length - 1 }
    : {
        state: 'foreign',
        relationship: first,
        why: odd.join(', '),
        remedy: 'The oldest one wins in SPIRE controller manager: correct or delete it.',
      };
}

/**
 * Those for one trust domain that SPIRE controller manager considers: it acts on the first and passes over the rest
 * (spire-controller-manager: pkg/spirefederationrelationship/reconciler.go, listClusterFederatedTrustDomains).
 */
export function consideredRelationships(
  { relationships, className, watchClassless }: Pick<ClusterFacts, 'relationships' | 'className' | 'watchClassless'>,
  trustDomain: string,
): RelationshipFacts[] {
  return relationships
    .filter((each) => each.trustDomain === trustDomain && each.invalid === undefined)
    .filter((each) => (each.className === undefined ? watchClassless === true : each.className === className))
    .sort((a, b) => age(a).localeCompare(age(b)));
}

/** Those of others, on which SPIRE controller manager goes on once the federation's own is gone. */
export function rivalRelationships(
  facts: Parameters<typeof consideredRelationships>[0],
  trustDomain: string,
  federation: string,
): RelationshipFacts[] {
  return consideredRelationships(facts, trustDomain).filter((each) => each.federation !== federation);
}

function age({ createdAt = '', uid = '' }: RelationshipFacts): string {
  return `${createdAt} ${uid}`;
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
  return (
    own.find((each) => each.trustDomain === trustDomain) ??
    (isEdited ? named : undefined) ??
    trusting.relationships.find((each) => each.lostLabels === true && each.trustDomain === trustDomain)
  );
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
  if (trusting.pendingBundles?.includes(peer.trustDomain) === true) return false;
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

/**
 * A merge patch by which a live relationship loses what its manifest is without; undefined where there is nothing of that.
 * Server-side apply takes away only what an apply has set, and an adoption or a person set it otherwise. The whole
 * manifest goes with it: one that is half-changed may be refused, and what is in between must have its current bundle.
 */
export function removingPatch(
  live: KubernetesObject,
  manifest: KubernetesObject,
): (KubernetesObject & Record<string, unknown>) | undefined {
  const [{ annotations: has = {} }, { annotations = {} }] = [live.metadata, manifest.metadata];
  const unwanted = [HUB, STORED_BEFORE].filter((key) => has[key] !== undefined && annotations[key] === undefined);
  const profileOf = (object: KubernetesObject) =>
    (object['spec'] as RelationshipSpec | undefined)?.bundleEndpointProfile;
  const identified = profileOf(live)?.endpointSPIFFEID !== undefined;
  const isOdd = identified && profileOf(manifest)?.endpointSPIFFEID === undefined;
  if (unwanted.length === 0 && !isOdd) return undefined;
  return {
    ...manifest,
    metadata: {
      ...manifest.metadata,
      ...{ annotations: { ...annotations, ...Object.fromEntries(unwanted.map((key) => [key, null])) } },
    },
    spec: {
      ...(manifest['spec'] as RelationshipSpec),
      bundleEndpointProfile: { ...profileOf(manifest), ...(isOdd ? { endpointSPIFFEID: null } : {}) },
    },
  } as KubernetesObject & Record<string, unknown>;
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
    ...(object.metadata.uid === undefined ? {} : { uid: object.metadata.uid }),
    ...(hub === undefined ? {} : { hub }),
    ...(object.metadata.annotations?.[STORED_BEFORE] === undefined ? {} : { storedBefore: true }),
    trustDomain: spec.trustDomain ?? '',
    bundleEndpointURL: spec.bundleEndpointURL ?? '',
    profileType: spec.bundleEndpointProfile?.type ?? '',
    ...(endpointSPIFFEID === undefined ? {} : { endpointSPIFFEID }),
    ...(spec.className === undefined || spec.className === '' ? {} : { className: spec.className }),
    ...(federation === undefined ? {} : { federation }),
    ...(hasLostLabels(object) ? { lostLabels: true } : {}),
    ...(federation === undefined && !spec.trustDomainBundle && spec.bundleEndpointProfile?.type !== 'https_web'
      ? { bundleless: true }
      : {}),
    // Kept only where an undo may have to restore it: others' relationships are never written.
    ...(federation === undefined || spec.trustDomainBundle === undefined
      ? {}
      : { trustDomainBundle: spec.trustDomainBundle }),
  };
}

/** What of a relationship differs from what is wanted, in the operator's words; empty when nothing does. */
export function relationshipDifferences(actual: RelationshipFacts, wanted: RelationshipFacts): string[] {
  const fields = ['trustDomain', 'bundleEndpointURL', 'profileType', 'endpointSPIFFEID', 'className', 'hub'] as const;
  const differences = fields
    .filter((field) => actual[field] !== wanted[field])
    .map((field) => `${field} is ${actual[field] ?? 'missing'} instead of ${wanted[field] ?? 'none'}`);
  return differences.length > 0 || actual.invalid === undefined
    ? differences
    : [`SPIRE controller manager refuses it: ${actual.invalid}`];
}
