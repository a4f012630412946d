/** One peer in the `federates_with` block of SPIRE server's configuration. */
export interface FederatesWith {
  bundleEndpointUrl: string;
  profile: { type: 'https_spiffe'; endpointSpiffeId: string } | { type: 'https_web' };
}

/** What the engine reads of a `server.conf`. */
export interface ServerConf {
  trustDomain: string;
  bundleEndpoint?: { address?: string; port?: number; refreshHint?: string; profile?: string };
  /** Keyed as written, which should be by trust domain. */
  federatesWith: Record<string, FederatesWith | { unreadable: string }>;
}

/** The federation settings a change wants in a `server.conf`. */
export interface WantedFederation {
  bundleEndpoint: { address: string; port: number; refreshHintSeconds: number };
  /** Keyed by trust domain; empty for dynamic relationships. */
  federatesWith: Record<string, FederatesWith>;
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 0.001 };

/** Seconds of a Go duration such as "5m0s"; undefined when it is none. */
export function durationSeconds(duration: string | undefined): number | undefined {
  if (duration === undefined || !/^(\d+(\.\d+)?(h|ms|m|s))+$/.test(duration)) return undefined;
  return [...duration.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)].reduce(
    (sum, [, amount, unit]) => sum + Number(amount) * (UNIT_SECONDS[unit ?? 's'] ?? 0),
    0,
  );
}
