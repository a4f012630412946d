import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Authority } from './authority.js';

export interface KeyAndCertificate {
  key: string;
  certificate: string;
}

/** Files of a cluster's own certificate authority and of who it vouches for. */
export interface ClusterPki {
  ca: string;
  serviceAccountKey: string;
  serviceAccountPublicKey: string;
  apiServer: KeyAndCertificate;
  kubelet: KeyAndCertificate;
  /** Client of the kubelet's server, and of the API server with every right. */
  admin: KeyAndCertificate;
  controllerManager: KeyAndCertificate;
  scheduler: KeyAndCertificate;
}

/** Makes a cluster's keys and certificates, or finds those of an earlier start. */
export async function clusterPki(folder: string, host: string): Promise<ClusterPki> {
  const file = (name: string) => path.join(folder, name);
  const pair = (name: string): KeyAndCertificate => ({ key: file(`${name}.key`), certificate: file(`${name}.crt`) });
  const pki: ClusterPki = {
    ca: file('ca.crt'),
    serviceAccountKey: file('service-account.key'),
    serviceAccountPublicKey: file('service-account.pub'),
    apiServer: pair('apiserver'),
    kubelet: pair('kubelet'),
    admin: pair('admin'),
    controllerManager: pair('controller-manager'),
    scheduler: pair('scheduler'),
  };
  // Written last: when it is there, all is.
  if (existsSync(pki.ca)) return pki;
  mkdirSync(folder, { recursive: true });
  const authority = await Authority.create('sandbox');
  const issue = async (
    files: KeyAndCertificate,
    subject: string,
    addresses: string[],
    names: string[],
  ): Promise<void> => {
    const { key, certificate } = await authority.issue({ subject, addresses, names });
    writeFileSync(files.key, key, { mode: 0o600 });
    writeFileSync(files.certificate, certificate);
  };
  await Promise.all([
    issue(pki.apiServer, 'CN=kube-apiserver', [host], ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc']),
    issue(pki.kubelet, 'CN=kubelet', [host], []),
    issue(pki.admin, 'O=system:masters,CN=sandbox-admin', [], ['admin']),
    // Its controllers have a role each, bound to service accounts of theirs; one identity for all starts faster.
    issue(pki.controllerManager, 'O=system:masters,CN=system:kube-controller-manager', [], ['controller-manager']),
    issue(pki.scheduler, 'CN=system:kube-scheduler', [], ['scheduler']),
  ]);
  const account = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  writeFileSync(pki.serviceAccountKey, account.privateKey, { mode: 0o600 });
  writeFileSync(pki.serviceAccountPublicKey, account.publicKey);
  writeFileSync(pki.ca, (await authority.pem()).certificate);
  return pki;
}

/** Writes a kubeconfig, readable by its owner only. User and context names differ per cluster and identity. */
export function writeKubeconfig(
  file: string,
  { name, server, ca, user }: { name: string; server: string; ca: string; user: { token: string } | KeyAndCertificate },
): void {
  const base64 = (of: string) => readFileSync(of).toString('base64');
  const credentials =
    'token' in user
      ? { token: user.token }
      : { 'client-certificate-data': base64(user.certificate), 'client-key-data': base64(user.key) };
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority-data': base64(ca) } }],
    users: [{ name, user: credentials }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(kubeconfig, undefined, 2)}\n`, { mode: 0o600 });
  chmodSync(file, 0o600);
}
