import type { RelationshipKind, Relationships } from '../contract/control.js';
import type { ClusterFacts } from '../contract/facts.js';
import { DEFAULT_REFRESH_HINT_SECONDS } from '../contract/names.js';
import { durationSeconds } from '../contract/serverConf.js';

/** How a federation is set up, read from its members: they hold the truth. */
export interface FederationSettings {
  relationships: Relationships;
  refreshHintSeconds: number;
  /** Name of the hub's cluster, where there is one. */
  hub?: string;
}

/** Reads a federation's settings from its members. What they disagree about, most of them decide. */
export function federationSettings(federation: string, members: readonly ClusterFacts[]): FederationSettings {
  const hints = members.flatMap(({ serverConf }) => durationSeconds(serverConf.bundleEndpoint?.refreshHint) ?? []);
  const hubs = members
    .flatMap(({ relationships }) => relationships)
    .filter((relationship) => relationship.federation === federation)
    .flatMap((relationship) => relationship.hub ?? []);
  const hub = members.find(({ trustDomain }) => trustDomain === mostFrequent(hubs))?.cluster;
  return {
    relationships: members.some(({ recordedPeers }) => recordedPeers.length > 0) ? 'static' : 'dynamic',
    refreshHintSeconds: mostFrequent(hints) ?? DEFAULT_REFRESH_HINT_SECONDS,
    ...(hub === undefined ? {} : { hub }),
  };
}

/** What is asked for, and for the rest what the members have. */
export function resolveSettings(
  asked: {
    relationships?: RelationshipKind | undefined;
    refreshHintSeconds?: number | undefined;
    topology?: 'mesh' | 'hub' | undefined;
    hub?: string | undefined;
  },
  federation: string,
  clusters: readonly ClusterFacts[],
): FederationSettings {
  const members = clusters.filter((each) => each.federation === federation);
  const found = members.length === 0 ? undefined : federationSettings(federation, members);
  const hub = asked.topology === 'mesh' ? undefined : (asked.hub ?? found?.hub);
  return {
    relationships: asked.relationships ?? found?.relationships ?? 'static',
    refreshHintSeconds: asked.refreshHintSeconds ?? found?.refreshHintSeconds ?? DEFAULT_REFRESH_HINT_SECONDS,
    ...(hub === undefined ? {} : { hub }),
  };
}

/** How a member knows its peers. */
export function relationshipKind({ control }: ClusterFacts, relationships: Relationships): RelationshipKind {
  return typeof relationships === 'string' ? relationships : relationships[control.type];
}

/** Whether one member comes to trust another: all do in a mesh; with a hub, it and the others do. */
export function trusts(hub: string | undefined, trusting: string, trusted: string): boolean {
  return trusting !== trusted && (hub === undefined || trusting === hub || trusted === hub);
}

function mostFrequent<T>(values: readonly T[]): T | undefined {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}
