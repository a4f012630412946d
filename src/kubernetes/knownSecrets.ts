import { readFile } from 'node:fs/promises';
import { HttpMethod, RequestContext } from '@kubernetes/client-node';
import type { ClusterConnection } from './connect.js';

/**
 * The credentials that a cluster is spoken to with, in every form in which they could turn up in a text: what its
 * kubeconfig holds or points to, and what a request carries. Never log or return them.
 */
export async function knownSecrets({ config }: ClusterConnection): Promise<string[]> {
  const user = config.getCurrentUser();
  const files = [
    user?.keyFile,
    (user?.authProvider as { config?: Record<string, string> } | undefined)?.config?.['tokenFile'],
  ];
  const found = [
    user?.token,
    user?.password,
    user?.keyData,
    user?.keyData && Buffer.from(user.keyData, 'base64').toString(),
    ...(await Promise.all(files.map(readIfThere))),
    await authorization(config),
  ].filter((each): each is string => each !== undefined && each !== '');
  // A key that is quoted in part is as bad as a whole one.
  return found.flatMap((secret) => [secret, ...secret.split('\n')]).filter((line) => line.length > 20);
}

async function readIfThere(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  // What cannot be read cannot have got into anything either.
  return readFile(file, 'utf8').catch(() => undefined);
}

/** The token of a request, which may come from a credential plugin. */
async function authorization(config: ClusterConnection['config']): Promise<string | undefined> {
  const context = new RequestContext('https://127.0.0.1/', HttpMethod.GET);
  try {
    await config.applySecurityAuthentication(context);
  } catch {
    // Then no request of this cluster carries one, and whatever else is asked of it says why.
    return undefined;
  }
  const header = Object.entries(context.getHeaders()).find(([name]) => name.toLowerCase() === 'authorization')?.[1];
  return header?.replace(/^\S+\s+/, '');
}
