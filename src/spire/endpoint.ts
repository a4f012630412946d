import type { PeerCertificate } from 'node:tls';
import { getProxyForUrl } from 'proxy-from-env';
import { Agent, ProxyAgent, request, type Dispatcher } from 'undici';
import { FederatorError } from '../contract/errors.js';
import { presentedCertificate, type PresentedCertificate } from './presentedCertificate.js';

const TIMEOUT_MS = 10_000;

/** Codes with which TLS says that the server is not who it should be. */
const NOT_AUTHENTIC =
  /^(ERR_SPIFFE_ID|ERR_TLS_CERT_ALTNAME_INVALID|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_\w+)$/;

/** By what an endpoint is recognised. */
export type EndpointIdentity =
  | {
      profile: 'https_spiffe';
      spiffeId: string;
      /** PEM certificates of the bundle that SPIRE server gave through its own cluster's Kubernetes API. */
      authorities: string[];
    }
  | {
      profile: 'https_web';
      /** PEM certificates of authorities; when undefined, the public ones that Node has, and NODE_EXTRA_CA_CERTS. */
      authorities: string[] | undefined;
    };

export interface EndpointQuestion {
  /** The inventory's name of the cluster, for messages. */
  cluster: string;
  url: string;
  identity: EndpointIdentity;
  /** Proxy for endpoints; the environment's HTTPS_PROXY and NO_PROXY when undefined. */
  httpsProxy: string | undefined;
}

/**
 * Fetches what a bundle endpoint serves, as a peer does. With https_spiffe the server must present an SVID with the
 * expected SPIFFE ID that the given authorities vouch for, and host names play no part; with https_web a certificate
 * for the host in the URL.
 * @returns the body, a SPIFFE bundle (JWKS)
 * @throws FederatorError EndpointUnreachable, or EndpointNotAuthentic when someone else answers
 */
export async function fetchBundleEndpoint(question: EndpointQuestion): Promise<string> {
  const { cluster, url, identity, httpsProxy } = question;
  const proxy = httpsProxy ?? getProxyForUrl(url);
  const agent = endpointAgent(proxy, identity);
  try {
    const response = await request(url, { dispatcher: agent, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
    const body = await response.body.text();
    if (response.statusCode === 200) return body;
    throw new FederatorError(
      'EndpointUnreachable',
      `${cluster}: bundle endpoint ${url} answers HTTP ${response.statusCode}.`,
    );
  } catch (error) {
    if (error instanceof FederatorError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const message = error instanceof Error ? error.message : String(error);
    if (NOT_AUTHENTIC.test(code)) {
      const presented = await presentedCertificate(url, proxy, TIMEOUT_MS);
      throw new FederatorError('EndpointNotAuthentic', notAuthentic(question, { code, message }, presented));
    }
    throw new FederatorError(
      'EndpointUnreachable',
      `${cluster}: bundle endpoint ${url} cannot be reached: ${message || code}.`,
    );
  } finally {
    await agent.destroy();
  }
}

/** What is wrong with what an endpoint presents, and what to do about it. */
export function notAuthentic(
  { cluster, url, identity }: Pick<EndpointQuestion, 'cluster' | 'url' | 'identity'>,
  { code, message }: { code: string; message: string },
  presented: PresentedCertificate | undefined,
): string {
  const endpoint = `${cluster}: bundle endpoint ${url}`;
  const spiffeId = presented?.uris.find((uri) => uri.startsWith('spiffe://'));
  if (identity.profile === 'https_spiffe') {
    if (presented !== undefined && presented.uris.length === 0 && presented.hosts.length > 0) {
      return `${endpoint} is not ${identity.spiffeId}: it presents a certificate for ${presented.hosts.join(', ')} and no SPIFFE ID. It serves https_web (then say so: bundleEndpoint in the inventory), or TLS is not passed through to SPIRE.`;
    }
    return `${endpoint} is not ${identity.spiffeId}: ${message}. Another server answers there, or TLS is not passed through to SPIRE.`;
  }
  if (spiffeId !== undefined) {
    return `${endpoint} should serve https_web, but authenticates itself as ${spiffeId}: its profile is https_spiffe. Correct bundleEndpoint in the inventory, or restart SPIRE server if its configuration was changed.`;
  }
  if (code === 'CERT_HAS_EXPIRED') {
    const since = presented === undefined ? '' : ` on ${presented.validTo}`;
    return `${endpoint} presents a certificate that expired${since}: peers refuse it. Renew it (with servingCertFile SPIRE server reads the files again every fileSyncInterval).`;
  }
  if (code === 'CERT_NOT_YET_VALID') {
    return `${endpoint} presents a certificate that is not valid yet: peers refuse it. Wait until it is, or issue it anew with a clock that is right.`;
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const hosts = presented?.hosts.join(', ') || 'no host at all';
    return `${endpoint} presents a certificate for ${hosts}, and not for ${new URL(url).hostname}: peers refuse it. Issue it for that host, or change the host in the exposure.`;
  }
  const issuer = presented === undefined ? '' : ` by ${presented.issuer}`;
  const known =
    identity.authorities === undefined
      ? 'which is no public authority: name the file of its certificate as webPkiCA of that cluster in the inventory'
      : 'for which no authority in webPkiCA vouches: correct that file, or the certificate';
  return `${endpoint} presents a certificate issued${issuer}, ${known} (${message}).`;
}

interface EndpointTls {
  ca?: string[];
  checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
}

/** @param proxy URL of the proxy; empty to go straight */
function endpointAgent(proxy: string, identity: EndpointIdentity): Dispatcher {
  const tls: EndpointTls =
    identity.profile === 'https_spiffe'
      ? {
          ca: identity.authorities,
          checkServerIdentity: (_host, certificate) => identityError(certificate, identity.spiffeId),
        }
      : identity.authorities === undefined
        ? {}
        : { ca: identity.authorities };
  return proxy === ''
    ? new Agent({ connect: { ...tls, timeout: TIMEOUT_MS } })
    : new ProxyAgent({ uri: proxy, requestTls: { ...tls, timeout: TIMEOUT_MS } });
}

function identityError(certificate: PeerCertificate, expected: string): Error | undefined {
  const names = certificate.subjectaltname?.split(', ') ?? [];
  if (names.includes(`URI:${expected}`)) return undefined;
  return Object.assign(new Error(`it presents ${names.join(', ') || 'no SPIFFE ID'}`), { code: 'ERR_SPIFFE_ID' });
}

/** The X.509 authorities of a SPIFFE bundle (JWKS) as PEM certificates, as TLS wants them. */
export function authorityCertificates(bundle: string): string[] {
  const { keys = [] } = JSON.parse(bundle) as { keys?: { use?: string; x5c?: string[] }[] };
  return keys
    .filter((key) => key.use === 'x509-svid')
    .flatMap((key) => key.x5c ?? [])
    .map((der) => `-----BEGIN CERTIFICATE-----\n${der}\n-----END CERTIFICATE-----\n`);
}
