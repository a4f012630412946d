import type { Relationships } from '../contract/control.js';
import type { ClusterFacts } from '../contract/facts.js';
import { BUNDLE_ENDPOINT_PORT } from '../contract/names.js';
import {
  durationSeconds,
  sameProfile,
  type FederatesWith,
  type ProfileType,
  type ServerConf,
  type WantedFederation,
} from '../contract/serverConf.js';
import { federatesWithEntry } from './relationship.js';
import { wantedManagedRoute } from './managedRoute.js';
import { relationshipKind } from './settings.js';

/** A peer as a member's server.conf has to know it. */
export interface Peer {
  trustDomain: string;
  endpointUrl: string;
  /** Of the peer's endpoint. */
  profile: ProfileType;
}

/** A peer as it is to be known; the profile of one that cannot be asked is what the trusting cluster has of it. */
export function asPeer(
  trusting: ClusterFacts,
  peer: { trustDomain: string; profile?: ClusterFacts['profile'] },
  endpointUrl: string,
): Peer {
  const { trustDomain, profile } = peer;
  const written = configuredEntry(trusting, trustDomain)?.profile.type;
  return { trustDomain, endpointUrl, profile: profile?.type ?? written ?? 'https_spiffe' };
}

/** A peer as a member's server.conf has it; undefined where it has none, or none that can be read. */
export function configuredEntry({ serverConf }: ClusterFacts, trustDomain: string): FederatesWith | undefined {
  const entry = serverConf.federatesWith[trustDomain];
  return entry === undefined || 'unreadable' in entry ? undefined : entry;
}

/** The port SPIRE's bundle endpoint is to listen on: as it was set up, or configured before that, else SPIRE's usual one. */
export function endpointPort({
  serverConf,
  recordedEndpoint,
}: Pick<ClusterFacts, 'serverConf' | 'recordedEndpoint'>): number {
  return recordedEndpoint?.port ?? serverConf.bundleEndpoint?.port ?? BUNDLE_ENDPOINT_PORT;
}

/** The federation settings that a member's server.conf should have. */
export function wantedFederation(
  facts: ClusterFacts,
  peers: readonly Peer[],
  options: { relationships: Relationships; refreshHintSeconds: number },
): WantedFederation {
  return {
    bundleEndpoint: {
      address: facts.recordedEndpoint?.address ?? facts.serverConf.bundleEndpoint?.address ?? '0.0.0.0',
      port: endpointPort(facts),
      refreshHintSeconds: options.refreshHintSeconds,
      ...wantedProfile(facts),
    },
    federatesWith:
      relationshipKind(facts, options.relationships) === 'static'
        ? Object.fromEntries(
            peers.map(({ trustDomain, endpointUrl, profile }) => [
              trustDomain,
              federatesWithEntry(trustDomain, endpointUrl, profile),
            ]),
          )
        : {},
    ...(facts.control.type === 'operator' ? { managedRoute: wantedManagedRoute(facts) } : {}),
  };
}

/** What the inventory says, else as it was set up, else what server.conf has. */
function wantedProfile({
  profile,
  serverConf,
  recordedEndpoint,
}: ClusterFacts): Pick<WantedFederation['bundleEndpoint'], 'profile'> {
  if (profile.wanted !== undefined) return { profile: profile.wanted };
  const recorded = recordedEndpoint && (recordedEndpoint.profile ?? { type: 'https_spiffe' });
  if (recorded?.type === profile.type) return { profile: recorded };
  const found = serverConf.bundleEndpoint?.profile;
  return found === undefined || 'unreadable' in found ? {} : { profile: found };
}

/**
 * What of a server.conf differs from the wanted federation settings; empty when nothing does.
 * @param recordedPeers trust domains that the engine put into it: those that are not wanted any more must go
 */
export function serverConfDifferences(
  conf: ServerConf,
  wanted: WantedFederation,
  recordedPeers: readonly string[],
): string[] {
  const differences = recordedPeers
    .filter((trustDomain) => conf.federatesWith[trustDomain] !== undefined && !(trustDomain in wanted.federatesWith))
    .map((trustDomain) => `federates_with still has ${trustDomain}`);
  const { address, port, refreshHintSeconds, profile } = wanted.bundleEndpoint;
  const endpoint = conf.bundleEndpoint;
  if (endpoint === undefined) differences.push('bundle_endpoint is missing');
  else {
    if (endpoint.address !== address || endpoint.port !== port)
      differences.push(`bundle_endpoint is not at ${address}:${port}`);
    if (durationSeconds(endpoint.refreshHint) !== refreshHintSeconds) {
      differences.push(`refresh_hint is ${endpoint.refreshHint ?? 'missing'} instead of ${refreshHintSeconds}s`);
    }
    if (profile !== undefined && !sameProfile(endpoint.profile, profile)) {
      const found = endpoint.profile?.type ?? 'https_spiffe';
      differences.push(
        found === profile.type
          ? `the settings of profile ${found} are others`
          : `the profile is ${found} instead of ${profile.type}`,
      );
    }
  }
  for (const [trustDomain, entry] of Object.entries(wanted.federatesWith)) {
    const actual = conf.federatesWith[trustDomain];
    if (actual === undefined) differences.push(`federates_with lacks ${trustDomain}`);
    else if (!sameEntry(actual, entry)) differences.push(`federates_with ${trustDomain} has another URL or profile`);
  }
  return differences;
}

function sameEntry(actual: FederatesWith | { unreadable: string }, wanted: FederatesWith): boolean {
  if ('unreadable' in actual) return false;
  if (actual.bundleEndpointUrl !== wanted.bundleEndpointUrl || actual.profile.type !== wanted.profile.type)
    return false;
  return (
    actual.profile.type === 'https_web' ||
    (wanted.profile.type === 'https_spiffe' && actual.profile.endpointSpiffeId === wanted.profile.endpointSpiffeId)
  );
}
