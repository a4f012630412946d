import path from 'node:path';
import { FederatorError } from '../contract/errors.js';
import { KeyRing } from '../encryption/keyRing.js';
import type { ClusterStore } from './clusterStore.js';
import { FileStore } from './fileStore.js';

export const STORE = 'SPIRE_FEDERATOR_STORE';
export const STORE_KEYS = 'SPIRE_FEDERATOR_STORE_KEYS';

/**
 * The store for onboarded clusters; undefined where none is configured. Worker and API must be given the same one.
 * SPIRE_FEDERATOR_STORE is `file:<folder>`, with SPIRE_FEDERATOR_STORE_KEYS (see KeyRing), or `secrets:<namespace>`.
 * @throws FederatorError InvalidInput
 */
export async function openStore(environment: NodeJS.ProcessEnv = process.env): Promise<ClusterStore | undefined> {
  const configured = environment[STORE];
  if (configured === undefined || configured === '') return undefined;
  const [, kind, where = ''] = /^(file|secrets):(.+)$/.exec(configured) ?? [];
  if (kind === 'secrets') {
    // The Kubernetes client takes tens of megabytes: only who needs it loads it.
    const { SecretStore } = await import('./secretStore.js');
    return SecretStore.open(where);
  }
  if (kind !== 'file') {
    throw new FederatorError(
      'InvalidInput',
      `${STORE} is ${configured}; it must be file:<folder> or secrets:<namespace>.`,
    );
  }
  const keys = environment[STORE_KEYS];
  if (keys === undefined || keys === '') {
    throw new FederatorError(
      'InvalidInput',
      `${STORE_KEYS} is not set: kubeconfigs are never written unsealed. Make a key, keep it, and give it to the worker and the API: export ${STORE_KEYS}="k1:$(openssl rand -base64 32)"`,
    );
  }
  return new FileStore(path.resolve(where), KeyRing.parse(keys, STORE_KEYS));
}
