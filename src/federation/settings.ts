import type { ControlType, RelationshipKind, Relationships } from '../contract/control.js';
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

/**
 * Reads a federation's settings from its members. What they disagree about, most of them decide.
 * @param toldHintSeconds the refresh hint that counts where as many have it as another
 */
export function federationSettings(
  federation: string,
  members: readonly ClusterFacts[],
  toldHintSeconds?: number,
): FederationSettings {
  const hints = members.flatMap(({ serverConf }) => durationSeconds(serverConf.bundleEndpoint?.refreshHint) ?? []);
  const named = hubDomain(federation, members);
  const hub = members.find(({ trustDomain }) => trustDomain === named)?.cluster;
  return {
    relationships: relationshipsOf(members, members),
    refreshHintSeconds: mostFrequent(hints, toldHintSeconds) ?? DEFAULT_REFRESH_HINT_SECONDS,
    ...(hub === undefined ? {} : { hub }),
  };
}

/** How a federation is laid out by who watches over it; what is not said the members tell. */
export interface ToldTopology {
  topology?: 'mesh' | 'hub' | undefined;
  /** Name of the hub's cluster. */
  hub?: string | undefined;
}

/**
 * The cluster that is the hub, undefined in a mesh. Members name it by its trust domain: of a hub that could not be looked
 * at, that is known to be one of those; empty where it may be any of several, and then nothing is known of any pair.
 */
export function hubAmong(
  federation: string,
  members: readonly { cluster: string; trustDomain?: string; facts?: ClusterFacts }[],
  told: ToldTopology = {},
): string | undefined {
  const facts = members.flatMap((member) => member.facts ?? []);
  const { topology, hub } = confirmedTopology(federation, facts, told);
  if (hub !== undefined) return hub;
  const named = topology === 'mesh' ? undefined : hubDomain(federation, facts);
  if (named === undefined) return undefined;
  const unread = members.filter((member) => member.facts === undefined);
  return (
    members.find(({ facts: read, trustDomain }) => (read?.trustDomain ?? trustDomain) === named)?.cluster ??
    (unread.length === 1 ? unread[0]?.cluster : '')
  );
}

/**
 * What was told, unless it is a mesh and the federation was made for a hub: whoever started the monitor did not say so, and
 * no two members come to trust each other for that.
 */
export function confirmedTopology(
  federation: string,
  members: readonly ClusterFacts[],
  told: ToldTopology,
): ToldTopology {
  if (told.topology !== 'mesh') return told;
  const hub = hubDomain(federation, members);
  if (hub === undefined) return told;
  const { others, meshed } = besidesHub(federation, members, hub);
  return meshed.length <= others.length / 2 ? {} : told;
}

/** The members but the hub, and those of them that trust another one of these. */
function besidesHub(federation: string, members: readonly ClusterFacts[], hub: string) {
  const others = members.filter(({ trustDomain }) => trustDomain !== hub);
  const domains = new Set(others.map(({ trustDomain }) => trustDomain));
  const meshed = others.filter((member) =>
    ownRelationships(federation, [member]).some(({ trustDomain }) => domains.has(trustDomain)),
  );
  return { others, meshed };
}

/**
 * Trust domain of the hub as the members name it, whether or not it can be read; undefined in a mesh. It has to be a
 * member's or a trusted one, and more than half of all relationships have to name it, or no two other members to trust each
 * other: an annotation that somebody edited decides nothing.
 */
export function hubDomain(federation: string, members: readonly ClusterFacts[]): string | undefined {
  const own = ownRelationships(federation, members);
  const named = mostFrequent(own.flatMap(({ hub }) => hub ?? []));
  if (named === undefined || ![...members, ...own].some(({ trustDomain }) => trustDomain === named)) return undefined;
  if (own.filter(({ hub }) => hub === named).length > own.length / 2) return named;
  const { others, meshed } = besidesHub(federation, members, named);
  return others.length > 1 && meshed.length === 0 ? named : undefined;
}

function ownRelationships(federation: string, members: readonly ClusterFacts[]) {
  return members
    .flatMap(({ relationships }) => relationships)
    .filter((relationship) => relationship.federation === federation);
}

/**
 * What is asked for, and for the rest what the members have.
 * @param toldHintSeconds as in federationSettings
 */
export function resolveSettings(
  asked: {
    relationships?: RelationshipKind | undefined;
    refreshHintSeconds?: number | undefined;
    topology?: 'mesh' | 'hub' | undefined;
    hub?: string | undefined;
  },
  federation: string,
  clusters: readonly ClusterFacts[],
  toldHintSeconds?: number,
): FederationSettings {
  const members = clusters.filter((each) => each.federation === federation);
  const found = members.length === 0 ? undefined : federationSettings(federation, members, toldHintSeconds);
  const hub = asked.topology === 'mesh' ? undefined : (asked.hub ?? found?.hub);
  return {
    relationships: asked.relationships ?? relationshipsOf(members, clusters),
    refreshHintSeconds: asked.refreshHintSeconds ?? found?.refreshHintSeconds ?? DEFAULT_REFRESH_HINT_SECONDS,
    ...(hub === undefined ? {} : { hub }),
  };
}

/** Under an operator every static relationship is a restart and one of a limited number, and both are needless. */
const DEFAULT_RELATIONSHIPS: Readonly<Record<ControlType, RelationshipKind>> = {
  configMap: 'static',
  operator: 'dynamic',
};

/**
 * How the members know their peers, by how their SPIRE servers are configured; where none is configured so, by default.
 * @param clusters for whom it has to be said: in one word, if one says it for all of them
 */
export function relationshipsOf(members: readonly ClusterFacts[], clusters: readonly ClusterFacts[]): Relationships {
  const kindOf = (type: ControlType): RelationshipKind => {
    const alike = members.filter(({ control }) => control.type === type);
    if (alike.length === 0) return DEFAULT_RELATIONSHIPS[type];
    return alike.some(({ recordedPeers }) => recordedPeers.length > 0) ? 'static' : 'dynamic';
  };
  const kinds = { configMap: kindOf('configMap'), operator: kindOf('operator') };
  const [kind, ...others] = new Set(clusters.map(({ control }) => kinds[control.type]));
  return kind !== undefined && others.length === 0 ? kind : kinds;
}

/** How a member knows its peers. */
export function relationshipKind({ control }: ClusterFacts, relationships: Relationships): RelationshipKind {
  return typeof relationships === 'string' ? relationships : relationships[control.type];
}

/** Whether one member comes to trust another: all do in a mesh; with a hub, it and the others do. */
export function trusts(hub: string | undefined, trusting: string, trusted: string): boolean {
  return trusting !== trusted && (hub === undefined || trusting === hub || trusted === hub);
}

/** Of as many, the preferred one if it is one of them, else the first. */
export function mostFrequent<T>(values: readonly T[], preferred?: T): T | undefined {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const weight = ([value, count]: [T, number]) => count + (value === preferred ? 0.5 : 0);
  return [...counts].sort((a, b) => weight(b) - weight(a))[0]?.[0];
}
