import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { FederatorError } from '../contract/errors.js';
import { remembered } from './remembered.js';

/** One public key of a trust bundle. */
export interface BundleKey {
  use: 'x509-svid' | 'jwt-svid';
  /** SHA-256 (hex) of the CA certificate's DER, or of a JWT key's RFC 7638 thumbprint input and key ID. */
  id: string;
  /** Of a CA certificate, ISO 8601. */
  notBefore?: string;
  notAfter?: string;
}

/** A SPIFFE trust bundle as far as it has to be compared. */
export interface TrustBundle {
  keys: BundleKey[];
  refreshHintSeconds?: number;
  sequence?: number;
}

interface Jwk {
  use?: string;
  kid?: string;
  kty?: string;
  x5c?: string[];
  [member: string]: unknown;
}

interface Jwks {
  keys?: Jwk[] | null;
  spiffe_refresh_hint?: number;
  spiffe_sequence?: number;
}

/** The next CA is activated when a sixth of the lifetime is left, at most 7 days (spire: pkg/server/ca/manager, keyActivationThreshold). */
const ACTIVATION_FRACTION = 6;
const LONGEST_ACTIVATION_MS = 7 * 24 * 3600 * 1000;

/** Members of a JWK that its RFC 7638 thumbprint is made of, by key type. */
const THUMBPRINT_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  RSA: ['e', 'kty', 'n'],
  OKP: ['crv', 'kty', 'x'],
};

/**
 * Reads a SPIFFE bundle (JWKS). Keys of unknown use are passed over, as the SPIFFE standard says.
 * @throws FederatorError BundleUnreadable
 */
export function parseBundle(text: string): TrustBundle {
  const jwks = parseJwks(text);
  const keys = (jwks.keys ?? []).flatMap(readKey);
  const distinct = [...new Map(keys.map((key) => [`${key.use} ${key.id}`, key])).values()];
  return {
    keys: distinct,
    ...(jwks.spiffe_refresh_hint === undefined ? {} : { refreshHintSeconds: jwks.spiffe_refresh_hint }),
    ...(jwks.spiffe_sequence === undefined ? {} : { sequence: jwks.spiffe_sequence }),
  };
}

interface ApiBundle {
  trust_domain?: string;
  refresh_hint?: string | number;
  x509_authorities?: { asn1?: string }[];
  jwt_authorities?: { key_id?: string; public_key?: string }[];
}

/**
 * Reads what `spire-server bundle list -output json` prints, by trust domain: with the refresh hint that SPIRE polls by,
 * which its other formats leave out.
 * @throws FederatorError BundleUnreadable
 */
export function parseStoredBundles(output: string): Map<string, TrustBundle> {
  return new Map(
    apiBundles(output).map((bundle) => [
      bundle.trust_domain ?? '',
      { keys: apiKeys(bundle).flatMap(readKey), refreshHintSeconds: Number(bundle.refresh_hint ?? 0) },
    ]),
  );
}

/**
 * One of these bundles as a SPIFFE bundle (JWKS), its hint with it; undefined when it is not stored.
 * @throws FederatorError BundleUnreadable
 */
export function storedJwks(output: string, trustDomain: string): string | undefined {
  const bundle = apiBundles(output).find((each) => each.trust_domain === trustDomain);
  if (bundle === undefined) return undefined;
  const keys = apiKeys(bundle).map((jwk) => {
    const [der] = jwk.x5c ?? [];
    return der === undefined ? jwk : { ...certificate(der).publicKey.export({ format: 'jwk' }), ...jwk };
  });
  const hint = Number(bundle.refresh_hint ?? 0);
  return JSON.stringify({ keys, ...(hint === 0 ? {} : { spiffe_refresh_hint: hint }) });
}

function apiBundles(output: string): ApiBundle[] {
  try {
    return (JSON.parse(output) as { bundles?: ApiBundle[] | null }).bundles ?? [];
  } catch (error) {
    throw new FederatorError(
      'BundleUnreadable',
      `SPIRE server's list of bundles is not JSON: ${(error as Error).message}`,
    );
  }
}

function apiKeys({ x509_authorities: x509, jwt_authorities: jwt }: ApiBundle): Jwk[] {
  return [
    ...(x509 ?? []).map(({ asn1 = '' }) => ({ use: 'x509-svid', x5c: [asn1] })),
    ...(jwt ?? []).map(({ key_id: kid = '', public_key: key = '' }) => ({ ...publicJwk(key), use: 'jwt-svid', kid })),
  ];
}

const publicJwk = remembered((base64: string): Jwk => {
  try {
    return createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' }).export({
      format: 'jwk',
    });
  } catch (error) {
    throw new FederatorError(
      'BundleUnreadable',
      `A JWT key of a trust bundle is unreadable: ${(error as Error).message}`,
    );
  }
});

/** Identities of a bundle's CA certificates by what SPIRE calls their authority: the subject key identifier (hex). */
export function authorityKeys(text: string): Map<string, string> {
  const keys = new Map<string, string>();
  for (const jwk of parseJwks(text).keys ?? []) {
    const der = jwk.use === 'x509-svid' ? jwk.x5c?.[0] : undefined;
    if (der === undefined) continue;
    const { raw } = certificate(der);
    const identifier = subjectKeyIdentifier(raw);
    if (identifier !== undefined) keys.set(identifier, sha256(raw));
  }
  return keys;
}

/** The certificate's extension 2.5.29.14: its ID, then an OCTET STRING that holds another one with the identifier. */
function subjectKeyIdentifier(der: Buffer): string | undefined {
  const start = der.indexOf(Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x0e, 0x04]));
  if (start < 0) return undefined;
  const length = der[start + 8] ?? 0;
  return der.subarray(start + 9, start + 9 + length).toString('hex');
}

/** A short name for a bundle by all its keys: two bundles with the same keys have the same one. */
export function keysFingerprint(bundle: TrustBundle): string {
  return createHash('sha256').update(bundleKeyIds(bundle).join('\n')).digest('hex').slice(0, 16);
}

/** When the newest CA certificate expires, ISO 8601, and when SPIRE puts the next one to use. */
export function rotationTimes({ keys }: TrustBundle): { expiresAt: string; rotatesAt: string } | undefined {
  const newest = keys
    .flatMap(({ notBefore, notAfter }) =>
      notBefore === undefined || notAfter === undefined ? [] : [{ notBefore, notAfter }],
    )
    .sort((a, b) => a.notBefore.localeCompare(b.notBefore))
    .at(-1);
  if (newest === undefined) return undefined;
  const end = Date.parse(newest.notAfter);
  const before = Math.min((end - Date.parse(newest.notBefore)) / ACTIVATION_FRACTION, LONGEST_ACTIVATION_MS);
  return { expiresAt: newest.notAfter, rotatesAt: new Date(end - before).toISOString() };
}

/** A bundle's name for people: `SHA256:` and the first 16 bytes of the hash over its sorted X.509 authorities. */
export function bundleFingerprint({ keys }: TrustBundle): string {
  const ids = keys.filter(({ use }) => use === 'x509-svid').map(({ id }) => id);
  return `SHA256:${createHash('sha256').update(ids.sort().join('\n')).digest('hex').slice(0, 32)}`;
}

/** Identities of a bundle's keys, sorted: two bundles with the same ones are the same to whoever verifies with them. */
export function bundleKeyIds({ keys }: TrustBundle): string[] {
  return keys.map((key) => `${key.use}:${key.id}`).sort();
}

/** Compares by key; order and metadata play no part. `missing` are of `own` only, `extra` of `stored` only. */
export function compareBundles(
  stored: TrustBundle,
  own: TrustBundle,
): { equal: boolean; missing: BundleKey[]; extra: BundleKey[] } {
  const missing = own.keys.filter((key) => !hasKey(stored, key));
  const extra = stored.keys.filter((key) => !hasKey(own, key));
  return { equal: missing.length === 0 && extra.length === 0, missing, extra };
}

/**
 * The bundle by which a relationship is put back: the one that it had, unless SPIRE server has learnt other keys since.
 * SPIRE controller manager sends it over those as the relationship changes, and a CA that the peer has pruned
 * authenticates it no more.
 */
export function bundleToRestore(before: string | undefined, stored: string | undefined): string | undefined {
  if (before === undefined || stored === undefined) return stored ?? before;
  return compareBundles(parseBundle(before), parseBundle(stored)).equal ? before : stored;
}

/**
 * The bundle with `spiffe_refresh_hint` set. SPIRE's CLI leaves the hint out, and a peer bootstrapped without one would
 * poll at a fortieth of the CA's lifetime (36 minutes at 24 h).
 */
export function withRefreshHint(text: string, seconds: number): string {
  return JSON.stringify({ ...parseJwks(text), spiffe_refresh_hint: seconds });
}

/** When the first CA certificate of a bundle expires, ISO 8601; undefined without certificates. */
export function earliestExpiry({ keys }: TrustBundle): string | undefined {
  return keys
    .flatMap(({ notAfter }) => notAfter ?? [])
    .sort()
    .at(0);
}

/** Trust domains that the CA certificates of a bundle name (URI SAN); none where an upstream authority issued them. */
export function bundleTrustDomains(text: string): string[] {
  const domains = (parseJwks(text).keys ?? [])
    .flatMap(({ x5c }) => x5c?.[0] ?? [])
    .flatMap((der) => [...(certificate(der).subjectAltName ?? '').matchAll(/URI:spiffe:\/\/([^/,\s]+)/g)])
    .flatMap((match) => match[1] ?? []);
  return [...new Set(domains)];
}

/**
 * A server.conf that was edited speaks for the server only once that was restarted with it. CA certificates name their
 * trust domain, unless an upstream authority issued them: then nothing can be told.
 * @param configured trust domain by server.conf
 * @param own the bundle that the running server reports as its own
 * @throws FederatorError BundleMismatch
 */
export function requireOwnBundle(cluster: string, configured: string, own: string): void {
  const named = bundleTrustDomains(own);
  if (named.length === 0 || named.includes(configured)) return;
  const actual = named.join(', ');
  throw new FederatorError(
    'BundleMismatch',
    `${cluster}: server.conf says trust domain ${configured}, but SPIRE server's own bundle is of ${actual}: it was edited, and the server not restarted since. Put trust_domain ${actual} back; if it is to change, remove ${cluster} from its federation first.`,
  );
}

function hasKey({ keys }: TrustBundle, { use, id }: BundleKey): boolean {
  return keys.some((key) => key.use === use && key.id === id);
}

function parseJwks(text: string): Jwks {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FederatorError('BundleUnreadable', `A trust bundle is not JSON: ${(error as Error).message}`);
  }
  const isBundle =
    typeof value === 'object' &&
    value !== null &&
    'keys' in value &&
    (value.keys === null || Array.isArray(value.keys));
  if (!isBundle) throw new FederatorError('BundleUnreadable', 'A trust bundle is no JWKS: it has no list of keys.');
  return value as Jwks;
}

function readKey(jwk: Jwk): BundleKey[] {
  if (jwk.use === 'x509-svid') {
    const [der] = jwk.x5c ?? [];
    if (der === undefined)
      throw new FederatorError('BundleUnreadable', 'An X.509 authority of a trust bundle has no certificate (x5c).');
    return [caKey(der)];
  }
  if (jwk.use === 'jwt-svid') {
    const members = THUMBPRINT_MEMBERS[jwk.kty ?? ''] ?? ['kty'];
    const thumbprint = JSON.stringify(Object.fromEntries(members.map((member) => [member, jwk[member]])));
    return [{ use: 'jwt-svid', id: sha256(`${jwk.kid ?? ''} ${thumbprint}`) }];
  }
  return [];
}

const caKey = remembered((base64: string): BundleKey => {
  const { raw, validFrom, validTo } = certificate(base64);
  const iso = (time: string) => new Date(time).toISOString();
  return { use: 'x509-svid', id: sha256(raw), notBefore: iso(validFrom), notAfter: iso(validTo) };
});

function certificate(base64: string): X509Certificate {
  try {
    return new X509Certificate(Buffer.from(base64, 'base64'));
  } catch (error) {
    throw new FederatorError(
      'BundleUnreadable',
      `A CA certificate of a trust bundle is unreadable: ${(error as Error).message}`,
    );
  }
}

function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}
