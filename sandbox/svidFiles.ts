import { renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { PodIdentity } from './podIdentity.js';

const BUNDLE = 'bundle.pem';
const KEY = 'svid-key.pem';
const CERTIFICATE = 'svid.pem';

/**
 * Writes what spiffe-helper writes for a workload: svid.pem (leaf and intermediates), svid-key.pem (PKCS#8) and bundle.pem
 * (own and federated trust domains). Each file is replaced at once, svid.pem last: by then its key is there.
 */
export function writeSvidFiles(directory: string, { svids: [svid], trustDomainId, bundles }: PodIdentity): void {
  const { [trustDomainId]: own = Buffer.alloc(0), ...federated } = bundles;
  const authorities = [own, ...Object.values(federated)].flatMap(splitCertificates);
  replace(directory, BUNDLE, authorities.map(certificatePem).join(''));
  replace(directory, KEY, pem('PRIVATE KEY', svid.privateKey), 0o600);
  replace(directory, CERTIFICATE, svid.certificates.map(certificatePem).join(''));
}

export function removeSvidFiles(directory: string): void {
  for (const name of [CERTIFICATE, KEY, BUNDLE]) rmSync(path.join(directory, name), { force: true });
}

function replace(directory: string, name: string, content: string, mode = 0o644): void {
  const target = path.join(directory, name);
  const fresh = path.join(directory, `.${name}.new`);
  rmSync(fresh, { force: true });
  writeFileSync(fresh, content, { mode });
  renameSync(fresh, target);
}

function certificatePem(der: Buffer): string {
  return pem('CERTIFICATE', der);
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/** Splits DER certificates that follow each other, by the length of each outer SEQUENCE. Throws on anything else. */
export function splitCertificates(der: Buffer): Buffer[] {
  const certificates: Buffer[] = [];
  for (let start = 0; start < der.length;) {
    const length = sequenceLength(der.subarray(start));
    certificates.push(der.subarray(start, start + length));
    start += length;
  }
  return certificates;
}

/** Bytes of the SEQUENCE at the beginning, header included. */
function sequenceLength(der: Buffer): number {
  const [tag, first = 0] = der;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const header = 2 + lengthBytes;
  if (tag !== 0x30 || lengthBytes > 4 || first === 0x80 || der.length < header)
    throw new Error('not a DER certificate');
  const total = header + (lengthBytes === 0 ? first : der.readUIntBE(2, lengthBytes));
  if (total > der.length) throw new Error('a DER certificate is cut short');
  return total;
}
