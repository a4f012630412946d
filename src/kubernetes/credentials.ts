import type { KubeConfig } from '@kubernetes/client-node';
import { FederatorError } from '../contract/errors.js';
import type { Cluster } from '../contract/inventory.js';

/** Longest that the credentials of one request may take to be had; a plugin that asks a person never ends. */
const CREDENTIALS_TIMEOUT_MS = 15_000;

/**
 * Waits for the credentials of a request, which may come from a program that the kubeconfig names, from a file or from
 * an identity provider.
 * @throws FederatorError InvalidKubeconfig when that program or file is not there, ClusterUnreachable when it fails for
 *   a reason that may pass. What it said stays out of the message, as it may hold secrets.
 */
export async function obtained<T>(
  cluster: Cluster,
  config: KubeConfig,
  credentials: Promise<T>,
  timeoutMs = CREDENTIALS_TIMEOUT_MS,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new CredentialsLate(`it did not end within ${timeoutMs / 1000} s`)), timeoutMs);
  });
  try {
    return await Promise.race([credentials, late]);
  } catch (error) {
    throw credentialsError(cluster, config, error);
  } finally {
    clearTimeout(timer);
  }
}

class CredentialsLate extends Error {}

function credentialsError({ name, kubeconfig }: Cluster, config: KubeConfig, error: unknown): FederatorError {
  const plugin = config.getCurrentUser()?.exec as { command?: string } | undefined;
  const source = plugin === undefined ? 'the credentials' : `credential plugin ${plugin.command ?? '(no command)'}`;
  const { code } = error as NodeJS.ErrnoException;
  const of = `${name}: ${source} of kubeconfig ${kubeconfig.path}`;
  if (code === 'ENOENT' || code === 'EACCES') {
    return new FederatorError(
      'InvalidKubeconfig',
      `${of} cannot be ${plugin === undefined ? 'read' : 'run'} (${code}). ${plugin === undefined ? 'Correct the paths in it' : 'Install it where the worker runs'}, or use a kubeconfig of a ServiceAccount.`,
    );
  }
  const why = error instanceof CredentialsLate ? error.message : `failed${code === undefined ? '' : ` (${code})`}`;
  const context = kubeconfig.context === undefined ? '' : ` --context ${kubeconfig.context}`;
  return new FederatorError(
    'ClusterUnreachable',
    `${of}: ${why}. What it said is not shown, as it may hold secrets; see it where the worker runs: kubectl --kubeconfig ${kubeconfig.path}${context} version`,
  );
}
