import { ApiException, CoreV1Api, KubeConfig, type V1Secret } from '@kubernetes/client-node';
import { z } from 'zod';
import { FederatorError } from '../contract/errors.js';
import { clusterEntrySchema, type ClusterEntry } from '../contract/inventory.js';
import { FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL } from '../contract/names.js';
import { argoConfig, argoKubeconfig } from './argoCluster.js';
import type { ClusterRecord, ClusterStore, SecretRef, StoredCluster } from './clusterStore.js';

/** By which Argo CD finds its clusters (argo-cd: docs/operator-manual/declarative-setup.md, "Clusters"). */
const ARGO_LABEL = 'argocd.argoproj.io/secret-type';
const ARGO_CLUSTER = 'cluster';
/** Keeps a candidate out of Argo CD's sight, and out of the inventory. */
const CANDIDATE_LABEL = 'spire-federator.io/candidate';
/** What the store knows beside the credentials (ClusterEntry, who and when, as JSON). */
const ENTRY = 'spire-federator.io/cluster';

const FORBIDDEN = 403;
const NOT_FOUND = 404;
const CONFLICT = 409;
const TIMEOUT_MS = 15_000;
/** A list is good for so long: one change reads it many times. */
const LIST_MS = 1_000;

const annotationSchema = z.strictObject({
  entry: clusterEntrySchema,
  onboardedAt: z.iso.datetime(),
  onboardedBy: z.string(),
});

/**
 * Keeps each cluster in a Secret of the cluster on which the engine runs, in Argo CD's form: clusters that Argo CD knows
 * are the engine's too, and the other way round where both use one namespace.
 */
export class SecretStore implements ClusterStore {
  readonly description: string;
  private listed: { at: number; secrets: Promise<V1Secret[]> } | undefined;

  private constructor(
    private readonly api: CoreV1Api,
    private readonly namespace: string,
  ) {
    this.description = `Secrets of namespace ${namespace}`;
  }

  /** In a pod: its own cluster; elsewhere: that of KUBECONFIG. */
  static open(namespace: string): SecretStore {
    const config = new KubeConfig();
    config.loadFromDefault();
    return new SecretStore(config.makeApiClient(CoreV1Api), namespace);
  }

  async list(): Promise<StoredCluster[]> {
    const secrets = await this.secrets();
    return secrets.flatMap((secret) => {
      const stored = storedCluster(secret);
      return stored === undefined ? [] : [stored];
    });
  }

  async kubeconfig(name: string, candidate: boolean): Promise<string> {
    const secret = await this.find(name, candidate);
    if (secret === undefined) throw this.unknown(name);
    return argoKubeconfig(name, text(secret, 'server'), text(secret, 'config'));
  }

  async secret({ namespace, name, key }: SecretRef): Promise<string> {
    const missing = (what: string) =>
      new FederatorError('InvalidKubeconfig', `Secret ${namespace}/${name} of the engine's cluster ${what}.`);
    return this.guard('read', async () => {
      try {
        const secret = await this.api.readNamespacedSecret({ namespace, name });
        if (secret.data?.[key] === undefined) throw missing(`has no key ${key}`);
        return text(secret, key);
      } catch (error) {
        if (!(error instanceof ApiException)) throw error;
        if (error.code === NOT_FOUND) throw missing('is not there');
        if (error.code !== FORBIDDEN) throw error;
        throw missing('may not be read by the engine: give its account get of it, best in a namespace for that alone');
      }
    });
  }

  async propose({ entry, kubeconfig, by }: ClusterRecord): Promise<void> {
    const { name } = entry;
    const about: z.infer<typeof annotationSchema> = {
      entry,
      onboardedAt: new Date().toISOString(),
      onboardedBy: by,
    };
    const { server, config } = argoConfig(kubeconfig);
    await this.write(secretName(name, true), {
      metadata: {
        labels: { [MANAGED_BY_LABEL]: MANAGED_BY, [CANDIDATE_LABEL]: 'true' },
        annotations: { [ENTRY]: JSON.stringify(about) },
      },
      stringData: { name, server, config },
    });
  }

  async promote(name: string): Promise<void> {
    const candidate = await this.find(name, true);
    if (candidate === undefined) throw this.unknown(name);
    const existing = await this.find(name, false);
    if (existing !== undefined && !isOwn(existing)) throw foreign(name, existing);
    await this.write(secretName(name, false), {
      metadata: {
        labels: { [MANAGED_BY_LABEL]: MANAGED_BY, [ARGO_LABEL]: ARGO_CLUSTER },
        annotations: { [ENTRY]: candidate.metadata?.annotations?.[ENTRY] ?? '' },
      },
      data: candidate.data ?? {},
    });
    await this.remove(name, true);
  }

  async remove(name: string, candidate: boolean): Promise<void> {
    const secret = await this.find(name, candidate);
    if (secret === undefined) return;
    if (!isOwn(secret)) throw foreign(name, secret);
    await this.guard('written', async () => {
      try {
        await this.api.deleteNamespacedSecret({ namespace: this.namespace, name: secret.metadata?.name ?? '' });
      } catch (error) {
        if (!(error instanceof ApiException && error.code === NOT_FOUND)) throw error;
      }
    });
    this.listed = undefined;
  }

  private async write(name: string, content: Pick<V1Secret, 'metadata' | 'data' | 'stringData'>): Promise<void> {
    const { namespace } = this;
    const body: V1Secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'Opaque',
      ...content,
      metadata: { ...content.metadata, name, namespace },
    };
    await this.guard('written', async () => {
      try {
        await this.api.createNamespacedSecret({ namespace, body, fieldManager: FIELD_MANAGER });
      } catch (error) {
        if (!(error instanceof ApiException && error.code === CONFLICT)) throw error;
        await this.replace(name, body);
      }
    });
    this.listed = undefined;
  }

  /** Of the same cluster only, and as it was when that was seen. @throws FederatorError ForeignObject */
  private async replace(name: string, body: V1Secret): Promise<void> {
    const { namespace } = this;
    const existing = await this.api.readNamespacedSecret({ namespace, name });
    if (!isSameRecord(existing, body)) {
      throw new FederatorError(
        'ForeignObject',
        `Secret ${namespace}/${name} is there already, and is not what the cluster store keeps under that name. Delete it, or give the cluster another name.`,
      );
    }
    const { resourceVersion = '' } = existing.metadata ?? {};
    await this.api.replaceNamespacedSecret({
      namespace,
      name,
      body: { ...body, metadata: { ...body.metadata, resourceVersion } },
      fieldManager: FIELD_MANAGER,
    });
  }

  private async find(name: string, candidate: boolean): Promise<V1Secret | undefined> {
    this.listed = undefined;
    const secrets = await this.secrets();
    return secrets.find((secret) => {
      const stored = storedCluster(secret);
      return stored?.entry.name === name && stored.candidate === candidate;
    });
  }

  private async secrets(): Promise<V1Secret[]> {
    if (this.listed === undefined || Date.now() - this.listed.at > LIST_MS) {
      const secrets = this.guard('read', async () => {
        const lists = await Promise.all(
          [`${ARGO_LABEL}=${ARGO_CLUSTER}`, `${CANDIDATE_LABEL}=true`].map((labelSelector) =>
            this.api.listNamespacedSecret({ namespace: this.namespace, labelSelector }),
          ),
        );
        return lists.flatMap(({ items }) => items);
      });
      this.listed = { at: Date.now(), secrets };
      secrets.catch(() => (this.listed = undefined));
    }
    return this.listed.secrets;
  }

  private unknown(name: string): FederatorError {
    return new FederatorError('UnknownCluster', `There is no cluster ${name} in ${this.description}.`);
  }

  private async guard<T>(what: string, work: () => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
    });
    try {
      return await Promise.race([work(), late]);
    } catch (error) {
      if (error instanceof FederatorError) throw error;
      const why = error instanceof ApiException ? `HTTP ${error.code}` : (error as Error).message.split('\n')[0];
      throw new FederatorError(
        'StoreUnavailable',
        `The cluster store, ${this.description}, cannot be ${what} (${why}). The account of this process needs get, list, create, update and delete of Secrets there: deploy/kubernetes/rbac-store.yaml.`,
      );
    } finally {
      clearTimeout(timer);
    }
  }
}

function storedCluster(secret: V1Secret): StoredCluster | undefined {
  const { labels = {}, annotations = {}, resourceVersion = '' } = secret.metadata ?? {};
  const common = { version: resourceVersion, candidate: labels[CANDIDATE_LABEL] === 'true' };
  if (isOwn(secret) && annotations[ENTRY] !== undefined) {
    return { ...parseAbout(secret, annotations[ENTRY]), ...common, foreign: false };
  }
  const entry = entryOf(text(secret, 'name'));
  return entry === undefined ? undefined : { entry, ...common, foreign: true };
}

function parseAbout({ metadata }: V1Secret, text: string): z.infer<typeof annotationSchema> {
  try {
    return annotationSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new FederatorError(
      'StoreUnavailable',
      `Secret ${metadata?.name ?? ''} is not as the cluster store wrote it: restore its annotation ${ENTRY}, or delete it and onboard the cluster again.`,
      { cause: error },
    );
  }
}

/** Of a cluster that Argo CD was told of; its name there may be anything, and the engine's names are DNS labels. */
function entryOf(name: string): ClusterEntry | undefined {
  const label = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 63);
  const result = clusterEntrySchema.safeParse({ name: label });
  return result.success ? result.data : undefined;
}

function isOwn({ metadata }: V1Secret): boolean {
  return metadata?.labels?.[MANAGED_BY_LABEL] === MANAGED_BY;
}

/** Whether both are the engine's own, of one cluster, and both candidates or neither. */
function isSameRecord(one: V1Secret, other: V1Secret): boolean {
  const [a, b] = [one, other].map((secret) => (isOwn(secret) ? storedCluster(secret) : undefined));
  return a !== undefined && a.entry.name === b?.entry.name && a.candidate === b.candidate;
}

function foreign(name: string, { metadata }: V1Secret): FederatorError {
  return new FederatorError(
    'ForeignObject',
    `Cluster ${name} comes from Secret ${metadata?.name ?? ''}, which was not made by spire-federator: change or delete it where it was made.`,
  );
}

function text({ data = {} }: V1Secret, key: string): string {
  return Buffer.from(data[key] ?? '', 'base64').toString('utf8');
}

/** A cluster's name has no dot, so that no candidate has the name of another cluster's Secret. */
function secretName(name: string, candidate: boolean): string {
  return `spire-federator-cluster-${name}${candidate ? '.candidate' : ''}`;
}
