/** How a bundle endpoint authenticates itself: with SPIRE server's SVID, or with a certificate of the Web PKI. */
export type ProfileType = 'https_spiffe' | 'https_web';

/** The profile of a bundle endpoint, and for https_web where SPIRE server has its certificate from. */
export type EndpointProfile =
  | { type: 'https_spiffe' }
  | { type: 'https_web'; servingCertFile: ServingCertFile }
  | { type: 'https_web'; acme: Acme };

/** PEM files in SPIRE server's container, which it reads again from time to time. */
export interface ServingCertFile {
  certFilePath: string;
  keyFilePath: string;
  /** A Go duration. Without one SPIRE server does not start, though its documentation has a default. */
  fileSyncInterval?: string | undefined;
}

/** An account with an ACME server, which proves the domain by a connection to its port 443. */
export interface Acme {
  /** Let's Encrypt when absent. */
  directoryUrl?: string | undefined;
  domainName: string;
  email: string;
  tosAccepted: boolean;
}

/** One peer in the `federates_with` block of SPIRE server's configuration. */
export interface FederatesWith {
  bundleEndpointUrl: string;
  profile: { type: 'https_spiffe'; endpointSpiffeId: string } | { type: 'https_web' };
}

/** What the engine reads of a `server.conf`. */
export interface ServerConf {
  trustDomain: string;
  bundleEndpoint?: {
    address?: string;
    port?: number;
    refreshHint?: string;
    /** Absent: https_spiffe. */
    profile?: EndpointProfile | { type: string; unreadable: string };
  };
  /** Keyed as written, which should be by trust domain. */
  federatesWith: Record<string, FederatesWith | { unreadable: string }>;
  /** `federation` is the first key of `server`: SPIRE reads nothing there that is written as objects. */
  federationFirst?: true;
}

/** Where a bundle endpoint listens, and how it authenticates itself. */
export interface EndpointSettings {
  address: string;
  port: number;
  /** Absent: what is there stays. */
  profile?: EndpointProfile;
}

/** The federation settings a change wants in a `server.conf`. */
export interface WantedFederation {
  bundleEndpoint: EndpointSettings & { refreshHintSeconds: number };
  /** Keyed by trust domain; empty for dynamic relationships. */
  federatesWith: Record<string, FederatesWith>;
  /** Where an operator renders it: whether that makes the Route. */
  managedRoute?: 'true' | 'false';
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

/** Whether a server.conf has just this profile; one that says nothing of it has https_spiffe. */
export function sameProfile(
  actual: NonNullable<ServerConf['bundleEndpoint']>['profile'],
  wanted: EndpointProfile,
): boolean {
  if (actual === undefined || wanted.type === 'https_spiffe') return (actual?.type ?? 'https_spiffe') === wanted.type;
  if ('acme' in wanted) {
    if (!('acme' in actual)) return false;
    const keys = ['directoryUrl', 'domainName', 'email', 'tosAccepted'] as const;
    return keys.every((key) => actual.acme[key] === wanted.acme[key]);
  }
  if (!('servingCertFile' in actual)) return false;
  const [is, as] = [actual.servingCertFile, wanted.servingCertFile];
  return (
    is.certFilePath === as.certFilePath &&
    is.keyFilePath === as.keyFilePath &&
    durationSeconds(is.fileSyncInterval) === durationSeconds(as.fileSyncInterval)
  );
}
