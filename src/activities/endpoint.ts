import { readFile } from 'node:fs/promises';
import { FederatorError } from '../contract/errors.js';
import type { Cluster } from '../contract/inventory.js';
import type { ServerConf } from '../contract/serverConf.js';
import { serverSpiffeId } from '../federation/relationship.js';
import { authorityCertificates, type EndpointIdentity } from '../spire/endpoint.js';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * By what a cluster's bundle endpoint is recognised, as its server.conf has it.
 * @param own the bundle that its SPIRE server gave through its own cluster's Kubernetes API
 * @throws FederatorError InvalidInventory when webPkiCA cannot be read
 */
export async function endpointIdentity(cluster: Cluster, conf: ServerConf, own: string): Promise<EndpointIdentity> {
  if (conf.bundleEndpoint?.profile?.type === 'https_web') {
    return { profile: 'https_web', authorities: await webAuthorities(cluster) };
  }
  return {
    profile: 'https_spiffe',
    spiffeId: serverSpiffeId(conf.trustDomain),
    authorities: authorityCertificates(own),
  };
}

/** Whether an endpoint authenticates itself by the own bundle: only then what it serves proves that this still holds. */
export function speaksForBundle(conf: ServerConf): boolean {
  return conf.bundleEndpoint?.profile?.type !== 'https_web';
}

/** Authorities that the inventory names for a cluster's certificate; undefined: public ones. */
export async function webAuthorities({ name, bundleEndpoint }: Cluster): Promise<string[] | undefined> {
  if (bundleEndpoint?.profile !== 'https_web' || bundleEndpoint.webPkiCA === undefined) return undefined;
  const file = bundleEndpoint.webPkiCA;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FederatorError(
      'InvalidInventory',
      `${name}: webPkiCA ${file} ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}. Correct it in the inventory.`,
    );
  }
  const certificates = text.match(CERTIFICATE);
  if (certificates === null) {
    throw new FederatorError(
      'InvalidInventory',
      `${name}: webPkiCA ${file} holds no certificate. It must be PEM: -----BEGIN CERTIFICATE-----`,
    );
  }
  return certificates;
}
