import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { FederatorError } from '../contract/errors.js';

/** `config` of a cluster's Secret, as Argo CD reads it (argo-cd: pkg/apis/application/v1alpha1, ClusterConfig). */
const configSchema = z.looseObject({
  bearerToken: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  tlsClientConfig: z
    .looseObject({
      insecure: z.boolean().optional(),
      serverName: z.string().optional(),
      caData: z.string().optional(),
      certData: z.string().optional(),
      keyData: z.string().optional(),
    })
    .default({}),
});

interface Kubeconfig {
  clusters: [{ cluster: Record<string, string> }];
  users: [{ user: Record<string, string> }];
}

/** A kubeconfig of one context in Argo CD's form. */
export function argoConfig(kubeconfig: string): { server: string; config: string } {
  const { clusters, users } = parse(kubeconfig) as Kubeconfig;
  const [{ cluster }] = clusters;
  const [{ user }] = users;
  const config: z.infer<typeof configSchema> = {
    bearerToken: user['token'],
    username: user['username'],
    password: user['password'],
    tlsClientConfig: {
      serverName: cluster['tls-server-name'],
      caData: cluster['certificate-authority-data'],
      certData: user['client-certificate-data'],
      keyData: user['client-key-data'],
    },
  };
  return { server: cluster['server'] ?? '', config: JSON.stringify(config) };
}

/**
 * The other way round.
 * @throws FederatorError InvalidKubeconfig for a cluster that is reached by a program or without checking who it is
 */
export function argoKubeconfig(name: string, server: string, text: string): string {
  const config = parsed(name, text);
  const { tlsClientConfig: tls } = config;
  const refused = Object.keys(config).filter((key) => ['execProviderConfig', 'awsAuthConfig'].includes(key));
  if (tls.insecure === true) refused.push('tlsClientConfig.insecure');
  if (refused.length > 0) {
    throw invalid(name, `it has ${refused.join(', ')}; give it the token of a ServiceAccount and caData`);
  }
  const cluster = {
    server,
    'certificate-authority-data': tls.caData,
    'tls-server-name': tls.serverName,
  };
  const user = {
    token: config.bearerToken,
    username: config.username,
    password: config.password,
    'client-certificate-data': tls.certData,
    'client-key-data': tls.keyData,
  };
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'cluster',
    clusters: [{ name: 'cluster', cluster: given(cluster) }],
    contexts: [{ name: 'cluster', context: { cluster: 'cluster', user: 'user' } }],
    users: [{ name: 'user', user: given(user) }],
  });
}

function parsed(name: string, text: string): z.infer<typeof configSchema> {
  try {
    return configSchema.parse(JSON.parse(text));
  } catch {
    // What the parser says may quote a token.
    throw invalid(name, 'its config is not what Argo CD writes');
  }
}

function given(fields: Record<string, string | undefined>): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== ''));
}

function invalid(name: string, why: string): FederatorError {
  return new FederatorError('InvalidKubeconfig', `The Secret of cluster ${name} cannot be used: ${why}.`);
}
