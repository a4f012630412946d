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
