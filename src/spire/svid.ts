import { createHash, X509Certificate } from 'node:crypto';

/** An X.509-SVID as far as it says who its holder is and how long. */
export interface Svid {
  spiffeId: string;
  /** ISO 8601. */
  expiresAt: string;
}

/** Reads the leaf of an X.509-SVID (PEM); undefined when there is none, or it has no SPIFFE ID. */
export function readSvid(pem: string): Svid | undefined {
  const [leaf] = certificates(pem);
  const spiffeId = /URI:(spiffe:\/\/[^\s,]+)/.exec(leaf?.subjectAltName ?? '')?.[1];
  if (leaf === undefined || spiffeId === undefined) return undefined;
  return { spiffeId, expiresAt: new Date(leaf.validTo).toISOString() };
}

/** The certificates of a bundle (PEM): SHA-256 of each one's DER, hex, sorted, each once. */
export function readAuthorities(pem: string): string[] {
  const hashes = certificates(pem).map(({ raw }) => createHash('sha256').update(raw).digest('hex'));
  return [...new Set(hashes)].sort();
}

function certificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}
