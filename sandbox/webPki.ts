import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Authority } from './authority.js';
import type { Resource } from './kubernetes.js';
import { SPIRE_NAMESPACE, trustDomain } from './layout.js';

/** Secret with the certificate under which a cluster's SPIRE server may serve its bundle endpoint by https_web. */
export const WEB_CERTIFICATE = 'spire-server-web-certificate';
/** ConfigMap with what stands for the authorities that every system knows. */
export const WEB_ROOTS = 'web-roots';

/** Files of the sandbox's own Web PKI: one authority for all of its clusters. */
export function webPkiFiles(folder: string): { key: string; certificate: string } {
  return { key: path.join(folder, 'ca.key'), certificate: path.join(folder, 'ca.crt') };
}

/** The authority of the sandbox's Web PKI, made at first use. */
export async function webAuthority(folder: string): Promise<Authority> {
  const files = webPkiFiles(folder);
  if (existsSync(files.certificate)) {
    const read = (file: string) => readFileSync(file, 'utf8');
    return Authority.of({ key: read(files.key), certificate: read(files.certificate) });
  }
  const authority = await Authority.create('sandbox web PKI');
  const pem = await authority.pem();
  mkdirSync(folder, { recursive: true });
  writeFileSync(files.key, pem.key, { mode: 0o600 });
  // Written last: when it is there, all is.
  writeFileSync(files.certificate, pem.certificate);
  return authority;
}

/** What a cluster has of the Web PKI: the roots, and a certificate for all hosts of its domain. */
export async function webPkiManifests(authority: Authority, cluster: string): Promise<Resource[]> {
  const domain = trustDomain(cluster);
  const { key, certificate } = await authority.issue({ subject: `CN=*.${domain}`, names: [`*.${domain}`, domain] });
  const { certificate: ca } = await authority.pem();
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return [
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: WEB_ROOTS, namespace: SPIRE_NAMESPACE },
      data: { 'ca.crt': ca },
    },
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: WEB_CERTIFICATE, namespace: SPIRE_NAMESPACE },
      type: 'kubernetes.io/tls',
      data: { 'tls.crt': base64(certificate), 'tls.key': base64(key) },
    },
  ];
}
