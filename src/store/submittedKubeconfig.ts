import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { zodIssues } from '../config.js';
import { FederatorError } from '../contract/errors.js';

const name = z.string();
const kubeconfigSchema = z.looseObject({
  'current-context': name.optional(),
  clusters: z.array(z.looseObject({ name, cluster: z.looseObject({ server: z.string() }) })).default([]),
  contexts: z.array(z.looseObject({ name, context: z.looseObject({ cluster: name, user: name }) })).default([]),
  users: z.array(z.looseObject({ name, user: z.looseObject({}) })).default([]),
});

type Fields = Record<string, unknown>;

/** What a cluster may say of itself; all other fields are left out. */
const CLUSTER_FIELDS = ['server', 'certificate-authority-data', 'tls-server-name'];
const USER_FIELDS = ['token', 'client-certificate-data', 'client-key-data', 'username', 'password'];

/** Fields of a kubeconfig by which whoever submits it would act on the machine of the worker. */
const REFUSED: Readonly<Record<string, string>> = {
  exec: 'would run a program where the worker runs',
  'auth-provider': 'would run or read whatever the provider wants where the worker runs',
  tokenFile: 'would read a file where the worker runs',
  'client-certificate': 'would read a file where the worker runs; use client-certificate-data',
  'client-key': 'would read a file where the worker runs; use client-key-data',
  'certificate-authority': 'would read a file where the worker runs; use certificate-authority-data',
  'insecure-skip-tls-verify': 'would hand the credentials to whoever answers; use certificate-authority-data',
  'proxy-url': 'would send the credentials through a proxy of its choice; set HTTPS_PROXY for the worker',
};

/**
 * Takes from a kubeconfig that somebody submits the one context it is about, after making sure that nothing in it acts
 * or reads outside of itself.
 * @returns a kubeconfig with that context alone, as YAML
 * @throws FederatorError InvalidKubeconfig with every fault at once; no credential is in the message
 */
export function submittedKubeconfig(text: string, context?: string): string {
  const document = parsed(text);
  const wanted = context ?? document['current-context'];
  const found = document.contexts.find((each) => each.name === wanted)?.context;
  if (found === undefined) {
    const known = document.contexts.map((each) => each.name).join(', ') || 'none';
    throw invalid([`it has no context ${wanted ?? '(no current-context)'}; its contexts: ${known}`]);
  }
  const cluster = document.clusters.find((each) => each.name === found.cluster)?.cluster;
  const user = document.users.find((each) => each.name === found.user)?.user;
  const faults = [
    ...(cluster === undefined ? [`its cluster ${found.cluster} is not in it`] : refused('cluster', cluster)),
    ...(user === undefined ? [`its user ${found.user} is not in it`] : refused('user', user)),
  ];
  if (cluster !== undefined && !isHttps(cluster.server))
    faults.push('the server must be an https URL without credentials');
  const kept = pick(user ?? {}, USER_FIELDS);
  if (user !== undefined && faults.length === 0 && Object.keys(kept).length === 0) {
    faults.push('its user has no credentials: a token, or client-certificate-data and client-key-data');
  }
  if (faults.length > 0) throw invalid(faults);
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'cluster',
    clusters: [{ name: 'cluster', cluster: pick(cluster ?? {}, CLUSTER_FIELDS) }],
    contexts: [{ name: 'cluster', context: { cluster: 'cluster', user: 'user' } }],
    users: [{ name: 'user', user: kept }],
  });
}

function parsed(text: string): z.infer<typeof kubeconfigSchema> {
  let document: unknown;
  try {
    // Aliases could make a small text a huge document.
    document = parse(text, { maxAliasCount: 0 });
  } catch {
    // What the parser says quotes the text, and with it perhaps a token.
    throw invalid(['it is not YAML']);
  }
  const result = kubeconfigSchema.safeParse(document);
  if (!result.success)
    throw invalid(
      zodIssues(result.error)
        .split('\n')
        .map((line) => line.trim()),
    );
  return result.data;
}

function refused(what: string, fields: Fields): string[] {
  return Object.keys(fields)
    .filter((key) => Object.hasOwn(REFUSED, key) && fields[key] !== false)
    .map((key) => `${key} of its ${what} ${REFUSED[key]}`);
}

function isHttps(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, username, password } = new URL(url);
  return protocol === 'https:' && username === '' && password === '';
}

function pick(fields: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(names.filter((name) => name in fields).map((name) => [name, fields[name]]));
}

function invalid(faults: readonly string[]): FederatorError {
  return new FederatorError('InvalidKubeconfig', `The kubeconfig cannot be used: ${faults.join('; ')}.`);
}
