import { webcrypto } from 'node:crypto';
// The certificate library's own dependency injection asks for it.
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const YEAR_MS = 365 * 24 * 3600 * 1000;

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);

/** A key and something certified about it, as PEM. */
export interface KeyAndCertificatePem {
  key: string;
  certificate: string;
}

export interface Certified {
  subject: string;
  addresses?: string[];
  names?: string[];
  /** SPIFFE IDs, for one. */
  uris?: string[];
  /** A minute ago when absent. */
  notBefore?: Date;
  /** Ten years from now when absent. */
  notAfter?: Date;
}

/** A certificate authority. */
export class Authority {
  private constructor(
    private readonly certificate: x509.X509Certificate,
    private readonly keys: webcrypto.CryptoKeyPair,
  ) {}

  static async create(commonName: string): Promise<Authority> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      ...validity(),
      name: `CN=${commonName}`,
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature, true),
      ],
    });
    return new Authority(certificate, keys);
  }

  /** One that was made earlier. */
  static async of({ key, certificate }: KeyAndCertificatePem): Promise<Authority> {
    const { subtle } = webcrypto;
    const parsed = new x509.X509Certificate(certificate);
    const keys = {
      privateKey: await subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(key), ALGORITHM, true, ['sign']),
      publicKey: await subtle.importKey('spki', parsed.publicKey.rawData, ALGORITHM, true, ['verify']),
    };
    return new Authority(parsed, keys);
  }

  async pem(): Promise<KeyAndCertificatePem> {
    return { key: await privateKeyPem(this.keys), certificate: this.certificate.toString('pem') };
  }

  /** A key with a certificate for servers and clients. */
  async issue({
    subject,
    addresses = [],
    names = [],
    uris = [],
    notAfter,
    // One that is expired must have been valid some time.
    notBefore = notAfter && new Date(notAfter.getTime() - YEAR_MS),
  }: Certified): Promise<KeyAndCertificatePem> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      ...validity(),
      ...(notBefore === undefined ? {} : { notBefore }),
      ...(notAfter === undefined ? {} : { notAfter }),
      subject,
      issuer: this.certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension([
          ...addresses.map((value) => ({ type: 'ip', value }) as const),
          ...names.map((value) => ({ type: 'dns', value }) as const),
          ...uris.map((value) => ({ type: 'url', value }) as const),
        ]),
      ],
    });
    return { key: await privateKeyPem(keys), certificate: certificate.toString('pem') };
  }
}

function validity(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 10 * YEAR_MS) };
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function privateKeyPem({ privateKey }: webcrypto.CryptoKeyPair): Promise<string> {
  const exported = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey));
  return x509.PemConverter.encode(exported, 'PRIVATE KEY');
}
