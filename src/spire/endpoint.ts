import type { PeerCertificate } from 'node:tls';
import { getProxyForUrl } from 'proxy-from-env';
import { Agent, ProxyAgent, request, type Dispatcher } from 'undici';
import { FederatorError } from '../contract/errors.js';

const TIMEOUT_MS = 10_000;

/** Codes with which TLS says that the server is not who it should be. */
const NOT_AUTHENTIC = /^(ERR_SPIFFE_ID|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_\w+)$/;

export interface EndpointQuestion {
  /** The inventory's name of the cluster, for messages. */
  cluster: string;
  url: string;
  endpointSpiffeId: string;
  /** PEM certificates of the bundle that SPIRE server gave through its own cluster's Kubernetes API. */
  authorities: string[];
  /** Proxy for endpoints; the environment's HTTPS_PROXY and NO_PROXY when undefined. */
  httpsProxy: string | undefined;
}

/**
 * Fetches what a bundle endpoint serves, as a peer does with profile https_spiffe: the server must present an SVID with
 * the expected SPIFFE ID that the given authorities vouch for. Host names play no part in it.
 * @returns the body, a SPIFFE bundle (JWKS)
 * @throws FederatorError EndpointUnreachable, or EndpointNotAuthentic when someone else answers
 */
export async function fetchBundleEndpoint(question: EndpointQuestion): Promise<string> {
  const { cluster, url, endpointSpiffeId, authorities, httpsProxy } = question;
  const tls = {
    ca: authorities,
    checkServerIdentity: (_host: string, certificate: PeerCertificate) => identityError(certificate, endpointSpiffeId),
  };
  const agent = endpointAgent(httpsProxy ?? getProxyForUrl(url), tls);
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
      throw new FederatorError(
        'EndpointNotAuthentic',
        `${cluster}: bundle endpoint ${url} is not ${endpointSpiffeId}: ${message}. Another server answers there, or TLS is not passed through to SPIRE.`,
      );
    }
    throw new FederatorError(
      'EndpointUnreachable',
      `${cluster}: bundle endpoint ${url} cannot be reached: ${message || code}.`,
    );
  } finally {
    await agent.destroy();
  }
}

interface EndpointTls {
  ca: string[];
  checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined;
}

/** @param proxy URL of the proxy; empty to go straight */
function endpointAgent(proxy: string, tls: EndpointTls): Dispatcher {
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
