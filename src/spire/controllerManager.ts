import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { parseBundle } from './bundle.js';

/**
 * How long SPIRE controller manager may take to act on an object that was deleted, in milliseconds. As a rule it is a
 * moment. But after an outage of the API server its watches come back one by one, each after a pause that has grown with
 * the outage (client-go: tools/cache/reflector.go, backoff to 30 s and more by chance): 7 s to 70 s were seen on the
 * sandbox. To give up before it has looked would fail a change, or an undo, that needs nothing but patience.
 */
const NOTICED_WITHIN_MS = 120_000;

/** A time to wait for what SPIRE controller manager has to notice first, not shorter than that can take. */
export function noticedWithinMs(timeoutMs: number): number {
  return Math.max(timeoutMs, NOTICED_WITHIN_MS);
}

interface Spec {
  trustDomain?: string;
  bundleEndpointURL?: string;
  bundleEndpointProfile?: { type?: string; endpointSPIFFEID?: string };
  trustDomainBundle?: string;
}

const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SPIFFE_ID = /^spiffe:\/\/[a-z0-9._-]+(\/[a-zA-Z0-9._-]+)*$/;

/**
 * Why SPIRE controller manager ignores a ClusterFederatedTrustDomain as invalid, and ends the relationship that it stood
 * for; undefined when it does not (spire-controller-manager: api/v1alpha1, ParseClusterFederatedTrustDomainSpec).
 */
export function whyInvalid(object: KubernetesObject): string | undefined {
  const spec = (object['spec'] ?? {}) as Spec;
  const { trustDomain = '', bundleEndpointURL = '', bundleEndpointProfile, trustDomainBundle } = spec;
  if (!TRUST_DOMAIN.test(trustDomain)) return 'trustDomain is none';
  const url = URL.canParse(bundleEndpointURL) ? new URL(bundleEndpointURL) : undefined;
  if (url?.protocol !== 'https:' || `${url.username}${url.password}` !== '') return 'bundleEndpointURL is not valid';
  const { type, endpointSPIFFEID = '' } = bundleEndpointProfile ?? {};
  const isProfile = type === 'https_web' ? endpointSPIFFEID === '' : SPIFFE_ID.test(endpointSPIFFEID);
  if (!isProfile) return 'endpointSPIFFEID does not fit the profile';
  return trustDomainBundle === undefined || trustDomainBundle === '' ? undefined : whyNoBundle(trustDomainBundle);
}

/** It is stricter than parseBundle (go-spiffe: bundle/spiffebundle, Parse; go-jose reads the keys). */
function whyNoBundle(text: string): string | undefined {
  try {
    parseBundle(text);
    const { keys } = JSON.parse(text) as { keys: (JsonWebKey & { use?: string; x5c?: string[] })[] | null };
    if (keys === null) return 'trustDomainBundle has no keys';
    if (keys.some(({ use, x5c }) => use === 'x509-svid' && x5c?.length !== 1))
      return 'an X.509 authority of trustDomainBundle has not just one certificate';
    if (keys.some((key) => !isKey(key))) return 'a key of trustDomainBundle is unreadable';
    return undefined;
  } catch (error) {
    if (!(error instanceof FederatorError)) throw error;
    return `trustDomainBundle: ${error.message}`;
  }
}

function isKey(key: JsonWebKey): boolean {
  try {
    createPublicKey({ key, format: 'jwk' });
    return true;
  } catch {
    return false;
  }
}
