import 'reflect-metadata';
import { createPublicKey, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import {
  bundleFingerprint,
  bundleToRestore,
  bundleTrustDomains,
  compareBundles,
  earliestExpiry,
  parseBundle,
  parseStoredBundles,
  requireOwnBundle,
  storedJwks,
  withRefreshHint,
} from '../../src/spire/bundle.js';

interface Jwk {
  use: string;
  kty: string;
  kid?: string;
  crv?: string;
  x?: string;
  y?: string;
  x5c?: string[];
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
let authorities: Jwk[];
let jwtKeys: Jwk[];

/** A CA as SPIRE makes them: self-signed, with its trust domain as URI SAN. */
async function authority(trustDomain: string, notAfter: Date): Promise<Jwk> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${trustDomain}`,
    keys,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date('2026-01-01T00:00:00Z'),
    notAfter,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
    ],
  });
  return { use: 'x509-svid', kty: 'EC', x5c: [certificate.toString('base64')] };
}

/** As SPIRE server's list has it. */
const der = (jwk: Jwk) =>
  createPublicKey({ key: { ...jwk }, format: 'jwk' })
    .export({ format: 'der', type: 'spki' })
    .toString('base64');

async function jwtKey(kid: string): Promise<Jwk> {
  const { publicKey } = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const { kty = '', crv = '', x = '', y = '' } = await webcrypto.subtle.exportKey('jwk', publicKey);
  return { use: 'jwt-svid', kid, kty, crv, x, y };
}

const text = (keys: Jwk[], more: object = {}) => JSON.stringify({ keys, ...more });

beforeAll(async () => {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  authorities = await Promise.all(
    ['2027-01-01', '2026-06-01', '2028-01-01'].map((day) => authority('a.test', new Date(`${day}T00:00:00Z`))),
  );
  jwtKeys = await Promise.all(['one', 'two'].map(jwtKey));
});

test('two bundles are equal just when they have the same keys, in any order and however often', () => {
  const indexes = fc.array(fc.nat({ max: 4 }), { maxLength: 8 });
  fc.assert(
    fc.property(indexes, indexes, (first, second) => {
      const all = [...authorities, ...jwtKeys];
      const bundle = (chosen: number[]) => parseBundle(text(chosen.flatMap((index) => all[index] ?? [])));
      const { equal, missing, extra } = compareBundles(bundle(first), bundle(second));
      const [held, own] = [new Set(first), new Set(second)];
      expect(missing).toHaveLength([...own].filter((index) => !held.has(index)).length);
      expect(extra).toHaveLength([...held].filter((index) => !own.has(index)).length);
      expect(equal).toBe(missing.length + extra.length === 0);
    }),
  );
});

test('a fingerprint is of the X.509 authorities, whatever their order', () => {
  const fingerprint = bundleFingerprint(parseBundle(text(authorities)));
  expect(fingerprint).toMatch(/^SHA256:[0-9a-f]{32}$/);
  expect(bundleFingerprint(parseBundle(text([...authorities].reverse())))).toBe(fingerprint);
  expect(bundleFingerprint(parseBundle(text([...authorities, ...jwtKeys])))).toBe(fingerprint);
  expect(bundleFingerprint(parseBundle(text(authorities.slice(1))))).not.toBe(fingerprint);
});

test('hint, sequence, first expiry and trust domain are read', () => {
  const bundle = parseBundle(text(authorities, { spiffe_refresh_hint: 300, spiffe_sequence: 7 }));
  expect(bundle).toMatchObject({ refreshHintSeconds: 300, sequence: 7 });
  expect(earliestExpiry(bundle)).toBe('2026-06-01T00:00:00.000Z');
  expect(earliestExpiry(parseBundle(text(jwtKeys)))).toBeUndefined();
  expect(bundleTrustDomains(text(authorities))).toEqual(['a.test']);
});

test('a hint is added, or replaced, and nothing else changes', () => {
  const original = text(authorities, { spiffe_sequence: 7 });
  expect(JSON.parse(withRefreshHint(original, 60))).toEqual({
    ...(JSON.parse(original) as object),
    spiffe_refresh_hint: 60,
  });
  expect(parseBundle(withRefreshHint(withRefreshHint(original, 60), 300)).refreshHintSeconds).toBe(300);
});

test("SPIRE server's list is read per trust domain, with the same keys as in a SPIFFE bundle", () => {
  const list = parseStoredBundles(
    JSON.stringify({
      bundles: [
        {
          trust_domain: 'a.test',
          refresh_hint: '60',
          x509_authorities: authorities.map(({ x5c }) => ({ asn1: x5c?.[0] })),
        },
        { trust_domain: 'b.test', jwt_authorities: jwtKeys.map((jwk) => ({ key_id: jwk.kid, public_key: der(jwk) })) },
      ],
      next_page_token: '',
    }),
  );
  expect([...list.keys()]).toEqual(['a.test', 'b.test']);
  expect(list.get('a.test')).toEqual({ ...parseBundle(text(authorities)), refreshHintSeconds: 60 });
  expect(list.get('b.test')?.keys).toEqual(parseBundle(text(jwtKeys)).keys);
  expect(parseStoredBundles('{"bundles": [], "next_page_token": ""}').size).toBe(0);
});

test('a stored bundle can be sent as it is stored, with its hint', () => {
  const output = JSON.stringify({
    bundles: [
      {
        trust_domain: 'a.test',
        refresh_hint: '60',
        x509_authorities: authorities.map(({ x5c }) => ({ asn1: x5c?.[0] })),
        jwt_authorities: jwtKeys.map((jwk) => ({ key_id: jwk.kid, public_key: der(jwk) })),
      },
    ],
  });
  const sent = storedJwks(output, 'a.test') ?? '';
  expect(parseBundle(sent)).toEqual({ ...parseBundle(text([...authorities, ...jwtKeys])), refreshHintSeconds: 60 });
  for (const key of (JSON.parse(sent) as { keys: Jwk[] }).keys) {
    expect(key).toMatchObject({
      kty: 'EC',
      crv: 'P-256',
      x: expect.any(String) as string,
      y: expect.any(String) as string,
    });
  }
  expect(storedJwks(output, 'b.test')).toBeUndefined();
});

test('a relationship is put back with the bundle that it had, or with the keys that were learnt since', () => {
  const [first, second] = [text(authorities), text([...authorities, ...jwtKeys])];
  const reordered = text([...authorities].reverse());
  expect(bundleToRestore(first, second)).toBe(second);
  expect(bundleToRestore(first, reordered)).toBe(first);
  expect(bundleToRestore(first, undefined)).toBe(first);
  expect(bundleToRestore(undefined, second)).toBe(second);
});

test('keys of a use that is not known are passed over, as the SPIFFE standard says', () => {
  expect(parseBundle(text([{ use: 'wit-svid', kty: 'EC' }, ...jwtKeys])).keys).toHaveLength(2);
  expect(parseBundle('{"keys": null}').keys).toEqual([]);
});

test.each([
  ['no JSON at all', 'keys'],
  ['{}', 'no list of keys'],
  ['[]', 'no list of keys'],
  ['{"keys": [{"use": "x509-svid", "kty": "EC"}]}', 'no certificate'],
  ['{"keys": [{"use": "x509-svid", "kty": "EC", "x5c": ["AAAA"]}]}', 'unreadable'],
])('%j is refused', (unreadable) => {
  expect(() => parseBundle(unreadable)).toThrow(expect.objectContaining({ type: 'BundleUnreadable' }) as Error);
});

test('a list that is not JSON is refused', () => {
  expect(() => parseStoredBundles('Error: something')).toThrow(
    expect.objectContaining({ type: 'BundleUnreadable' }) as Error,
  );
});

test("a server.conf of another trust domain than the running server's bundle is refused, with both and the remedy", () => {
  const own = text([...authorities, ...jwtKeys]);
  expect(() => requireOwnBundle('b', 'a.test', own)).not.toThrow();
  expect(() => requireOwnBundle('b', 'a.test', text(jwtKeys))).not.toThrow();
  expect(() => requireOwnBundle('b', 'other.test', own)).toThrow(
    /^b: server\.conf says trust domain other\.test, but .* is of a\.test: .* Put trust_domain a\.test back/,
  );
});
