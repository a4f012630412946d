import type { FederatesWithEntry, SpireServerFederation, SpireServerRecord } from '../contract/control.js';
import { durationSeconds, type FederatesWith, type ServerConf, type WantedFederation } from '../contract/serverConf.js';
import { covers } from './ownership.js';

export const SPIRE_SERVER = {
  apiVersion: 'operator.openshift.io/v1alpha1',
  kind: 'SpireServer',
  metadata: { name: 'cluster' },
} as const;

/** More entries the API server refuses (ztwim: api/v1alpha1/spire_server_config_types.go, FederatesWith). */
export const MOST_STATIC_PEERS = 50;
/** What the operator has the bundle endpoint listen on (ztwim: pkg/controller/spire-server/configmap.go). */
const ADDRESS = '0.0.0.0';
const PORT = 8443;
export const DEFAULT_PROFILE = 'https_spiffe';

/**
 * spec.federation with what is wanted of it, and all else as it is. Entries that the engine wrote and that are not wanted
 * any more go, those of others stay; federatesWith is left out rather than empty.
 * @param record what the engine wrote earlier
 */
export function wantedSpireServer(
  live: SpireServerFederation | undefined,
  record: SpireServerRecord | undefined,
  { bundleEndpoint, federatesWith, managedRoute }: WantedFederation,
): SpireServerFederation {
  const base = live === undefined || record === undefined ? live : takenBack(live, record);
  const kept = (base?.federatesWith ?? []).filter(({ trustDomain }) => !(trustDomain in federatesWith));
  const wanted = Object.entries(federatesWith).map(([trustDomain, peer]) => entry(trustDomain, peer));
  // An entry keeps its place: a list in another order would be another configuration to whoever compares.
  const order = (live?.federatesWith ?? []).map(({ trustDomain }) => trustDomain);
  const place = ({ trustDomain }: FederatesWithEntry) =>
    (order.indexOf(trustDomain) + order.length + 1) % (order.length + 1);
  return withEntries(
    {
      ...base,
      bundleEndpoint: {
        ...base?.bundleEndpoint,
        profile: base?.bundleEndpoint.profile ?? DEFAULT_PROFILE,
        refreshHint: bundleEndpoint.refreshHintSeconds,
      },
      ...(managedRoute === undefined ? {} : { managedRoute }),
    },
    [...kept, ...wanted].sort((a, b) => place(a) - place(b)),
  );
}

/**
 * spec.federation without what the engine wrote, as far as the operator allows that: spec.federation cannot be removed
 * once it is set. What others changed since stays.
 */
export function takenBack(
  live: SpireServerFederation,
  { before, written, peers }: Pick<SpireServerRecord, 'before' | 'written' | 'peers'>,
): SpireServerFederation {
  const entries = (live.federatesWith ?? []).flatMap((current) => {
    const ours = peers.includes(current.trustDomain) && same(current, entryFor(written, current.trustDomain));
    return ours ? (entryFor(before, current.trustDomain) ?? []) : [current];
  });
  const restored = withEntries(live, entries);
  if (before === null) return restored;
  const { bundleEndpoint, managedRoute, ...rest } = restored;
  const { refreshHint, ...endpoint } = bundleEndpoint;
  const hint = refreshHint === written.bundleEndpoint.refreshHint ? before.bundleEndpoint.refreshHint : refreshHint;
  const route = managedRoute === written.managedRoute ? before.managedRoute : managedRoute;
  return {
    ...rest,
    bundleEndpoint: { ...endpoint, ...(hint === undefined ? {} : { refreshHint: hint }) },
    ...(route === undefined ? {} : { managedRoute: route }),
  };
}

/** spec.federation as a change found it, as far as the operator allows that. What others changed since stays. */
export function undonePatch(
  live: SpireServerFederation,
  { before, written }: Pick<SpireServerRecord, 'before' | 'written'>,
): SpireServerFederation {
  const peers = (written.federatesWith ?? []).map(({ trustDomain }) => trustDomain);
  const restored = takenBack(live, { before, written, peers });
  const removed = (before?.federatesWith ?? []).filter(
    ({ trustDomain }) => !peers.includes(trustDomain) && entryFor(live, trustDomain) === undefined,
  );
  return withEntries(restored, [...(restored.federatesWith ?? []), ...removed]);
}

/** What the engine has written, once it has written `written` over `live`. */
export function spireServerRecord(
  federation: string,
  live: SpireServerFederation | undefined,
  record: SpireServerRecord | undefined,
  written: SpireServerFederation,
  wanted: WantedFederation,
): SpireServerRecord {
  return {
    federation,
    before: record === undefined ? (live ?? null) : record.before,
    written,
    peers: Object.keys(wanted.federatesWith),
  };
}

/** The record by which entries of others become the engine's: it may change them, and takes them back out in the end. */
export function adoptedSpireServer(
  federation: string,
  live: SpireServerFederation | undefined,
  record: SpireServerRecord | undefined,
  trustDomains: readonly string[],
): SpireServerRecord {
  const found = (live?.federatesWith ?? []).map(({ trustDomain }) => trustDomain);
  const peers = found.filter((trustDomain) => trustDomains.includes(trustDomain));
  const before = record === undefined ? (live ?? null) : record.before;
  const others = (before?.federatesWith ?? []).filter(({ trustDomain }) => !peers.includes(trustDomain));
  return {
    federation,
    before: before === null ? null : withEntries(before, others),
    written: live ?? { bundleEndpoint: {} },
    peers,
  };
}

/** What of spec.federation differs from what is wanted of it, in an operator's words; empty when nothing does. */
export function spireServerDifferences(
  live: SpireServerFederation | undefined,
  wanted: SpireServerFederation,
): string[] {
  if (live === undefined) {
    const { profile, refreshHint } = wanted.bundleEndpoint;
    return [
      `bundleEndpoint: profile ${profile}, refreshHint ${refreshHint}`,
      `managedRoute: "${wanted.managedRoute}"`,
      ...(wanted.federatesWith ?? []).map(({ trustDomain }) => `federatesWith lacks ${trustDomain}`),
    ];
  }
  const { refreshHint } = wanted.bundleEndpoint;
  return [
    ...(live.bundleEndpoint.refreshHint === refreshHint
      ? []
      : [`refreshHint is ${live.bundleEndpoint.refreshHint ?? 'missing'} instead of ${refreshHint}`]),
    ...(live.managedRoute === wanted.managedRoute
      ? []
      : [`managedRoute is "${live.managedRoute ?? ''}" instead of "${wanted.managedRoute}"`]),
    ...(live.federatesWith ?? [])
      .filter(({ trustDomain }) => entryFor(wanted, trustDomain) === undefined)
      .map(({ trustDomain }) => `federatesWith still has ${trustDomain}`),
    ...(wanted.federatesWith ?? []).flatMap((each) => {
      const current = entryFor(live, each.trustDomain);
      if (current === undefined) return [`federatesWith lacks ${each.trustDomain}`];
      return same(current, each) ? [] : [`federatesWith ${each.trustDomain} has another URL or profile`];
    }),
  ];
}

/** Whether the operator has to render server.conf anew for it, and so restarts the server. */
export function rendersAnew(live: SpireServerFederation | undefined, wanted: SpireServerFederation): boolean {
  const rendered = ({ bundleEndpoint, federatesWith = [] }: SpireServerFederation) => ({
    bundleEndpoint,
    peers: [...federatesWith].sort((a, b) => a.trustDomain.localeCompare(b.trustDomain)),
  });
  return live === undefined || !same(rendered(live), rendered(wanted));
}

/** What of spec.federation the operator has not rendered into server.conf yet; empty when it has. */
export function unrendered(conf: ServerConf, federation: SpireServerFederation | undefined): string[] {
  const endpoint = conf.bundleEndpoint;
  if (federation === undefined) return endpoint === undefined ? [] : ['server.conf still has bundle_endpoint'];
  if (endpoint === undefined) return ['server.conf has no bundle_endpoint'];
  const { profile = DEFAULT_PROFILE, refreshHint } = federation.bundleEndpoint;
  const entries = federation.federatesWith ?? [];
  return [
    ...(endpoint.address === ADDRESS && endpoint.port === PORT ? [] : [`bundle_endpoint is not at ${ADDRESS}:${PORT}`]),
    ...((endpoint.profile?.type ?? DEFAULT_PROFILE) === profile ? [] : [`the profile is not ${profile}`]),
    ...(refreshHint === undefined || durationSeconds(endpoint.refreshHint) === refreshHint
      ? []
      : [`refresh_hint is ${endpoint.refreshHint ?? 'missing'}`]),
    ...entries
      .filter(({ trustDomain, bundleEndpointUrl }) => {
        const peer = conf.federatesWith[trustDomain];
        return peer === undefined || 'unreadable' in peer || peer.bundleEndpointUrl !== bundleEndpointUrl;
      })
      .map(({ trustDomain }) => `federates_with is not right for ${trustDomain}`),
    ...Object.keys(conf.federatesWith)
      .filter((trustDomain) => !entries.some((each) => each.trustDomain === trustDomain))
      .map((trustDomain) => `federates_with still has ${trustDomain}`),
  ];
}

function entry(trustDomain: string, { bundleEndpointUrl, profile }: FederatesWith): FederatesWithEntry {
  return {
    trustDomain,
    bundleEndpointUrl,
    bundleEndpointProfile: profile.type,
    ...(profile.type === 'https_spiffe' ? { endpointSpiffeId: profile.endpointSpiffeId } : {}),
  };
}

function entryFor(
  federation: SpireServerFederation | null | undefined,
  trustDomain: string,
): FederatesWithEntry | undefined {
  return federation?.federatesWith?.find((each) => each.trustDomain === trustDomain);
}

function withEntries(federation: SpireServerFederation, entries: readonly FederatesWithEntry[]): SpireServerFederation {
  const { federatesWith: _federatesWith, ...rest } = federation;
  return entries.length === 0 ? rest : { ...rest, federatesWith: [...entries] };
}

function same(a: unknown, b: unknown): boolean {
  return covers(a, b) && covers(b, a);
}
