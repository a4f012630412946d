import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { FIELD_MANAGER } from '../contract/names.js';
import type { ClusterConnection } from './connect.js';
import { requestJson, type KubernetesRequest } from './request.js';

/** What names an object; everything else of it is read from the cluster. */
export interface ObjectReference {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
}

/** The kinds the engine deals with, by their names in a URL. Known ahead, they cost no discovery requests. */
const RESOURCES: Readonly<Record<string, string>> = {
  ConfigMap: 'configmaps',
  Deployment: 'deployments',
  ClusterFederatedTrustDomain: 'clusterfederatedtrustdomains',
  ClusterSPIFFEID: 'clusterspiffeids',
  Ingress: 'ingresses',
  Namespace: 'namespaces',
  Pod: 'pods',
  Route: 'routes',
  Service: 'services',
  SpireServer: 'spireservers',
  StatefulSet: 'statefulsets',
};

/** Name of an object for messages: "Route spire-server-federation". */
export function objectName(object: ObjectReference): string {
  return `${object.kind} ${object.metadata.name}`;
}

/** Reads an object; undefined when there is none, or when the cluster does not know its kind. */
export async function readObject<T extends KubernetesObject = KubernetesObject>(
  connection: ClusterConnection,
  reference: ObjectReference,
): Promise<T | undefined> {
  return absentAsUndefined(
    requestJson<T>(connection, {
      method: 'GET',
      path: objectPath(reference),
      attempt: `read ${objectName(reference)}`,
    }),
  );
}

/** What of a kind is listed or watched. */
export interface ListReference {
  apiVersion: string;
  kind: string;
  namespace?: string;
  /** One object only. */
  name?: string;
  labelSelector?: string;
}

/**
 * Lists objects of one kind with the version of the list, from which a watch goes on. In one page: what is watched is
 * few, or it would not be watched.
 * @throws FederatorError NotFound when the cluster does not know the kind
 */
export async function listWithVersion(
  connection: ClusterConnection,
  { apiVersion, kind, namespace, name, labelSelector }: ListReference,
): Promise<{ items: KubernetesObject[]; resourceVersion: string }> {
  const list = await requestJson<{ items: KubernetesObject[]; metadata: { resourceVersion: string } }>(connection, {
    method: 'GET',
    path: collectionPath(apiVersion, kind, namespace),
    query: {
      ...(name === undefined ? {} : { fieldSelector: `metadata.name=${name}` }),
      ...(labelSelector === undefined ? {} : { labelSelector }),
    },
    attempt: `list ${kind}s`,
  });
  const items = list.items.map((item) => ({ ...item, apiVersion, kind }));
  return { items, resourceVersion: list.metadata.resourceVersion };
}

/** Lists objects of one kind, all pages; an empty list when the cluster does not know the kind. */
export async function listObjects<T extends KubernetesObject = KubernetesObject>(
  connection: ClusterConnection,
  { apiVersion, kind, namespace }: { apiVersion: string; kind: string; namespace?: string },
  { labelSelector }: { labelSelector?: string } = {},
): Promise<T[]> {
  const found: T[] = [];
  let next: string | undefined;
  do {
    const query: Record<string, string> = { limit: '500' };
    if (labelSelector !== undefined) query['labelSelector'] = labelSelector;
    if (next !== undefined) query['continue'] = next;
    const list = await absentAsUndefined(
      requestJson<{ items: T[]; metadata?: { continue?: string } }>(connection, {
        method: 'GET',
        path: collectionPath(apiVersion, kind, namespace),
        query,
        attempt: `list ${kind}s`,
      }),
    );
    found.push(...(list?.items ?? []).map((item) => ({ ...item, apiVersion, kind })));
    next = list?.metadata?.continue || undefined;
  } while (next !== undefined);
  return found;
}

/** Writes an object by server-side apply as field manager spire-federator; takes over fields that others wrote. */
export async function applyObject(connection: ClusterConnection, object: KubernetesObject): Promise<KubernetesObject> {
  return patch(connection, object, 'application/apply-patch+yaml', { force: 'true' }, 'apply');
}

/**
 * Patches an object that may belong to someone else. With `metadata.resourceVersion` in the patch it fails with Conflict
 * when anybody changed the object since that version was read.
 * With `dryRun` the API server checks the patch and returns what would come of it.
 * @param strategy `merge` (null removes a key) or `strategic` (lists merge by their keys; built-in kinds only)
 */
export async function patchObject(
  connection: ClusterConnection,
  change: ObjectReference & Record<string, unknown>,
  strategy: 'merge' | 'strategic' = 'merge',
  { dryRun = false }: { dryRun?: boolean } = {},
): Promise<KubernetesObject> {
  const contentType = strategy === 'merge' ? 'application/merge-patch+json' : 'application/strategic-merge-patch+json';
  return patch(connection, change, contentType, dryRun ? { dryRun: 'All' } : {}, 'patch');
}

/** Deletes an object; returns false when it was gone already. */
export async function deleteObject(
  connection: ClusterConnection,
  reference: ObjectReference,
  { gracePeriodSeconds }: { gracePeriodSeconds?: number } = {},
): Promise<boolean> {
  const gone = await absentAsUndefined(
    requestJson(connection, {
      method: 'DELETE',
      path: objectPath(reference),
      body: { propagationPolicy: 'Background', ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }) },
      attempt: `delete ${objectName(reference)}`,
    }),
  );
  return gone !== undefined;
}

/**
 * Whether the API server offers a kind, e.g. because its CRD is installed.
 * @param maxAgeMs for which an answer that was had before will do
 */
export async function kindExists(
  connection: ClusterConnection,
  apiVersion: string,
  kind: string,
  maxAgeMs = 0,
): Promise<boolean> {
  return (await kindsOf(connection, apiVersion, maxAgeMs)).has(kind);
}

interface Discovered {
  askedAt: number;
  kinds: ReadonlySet<string>;
}

/** By connection, and by group and version. */
const discovered = new WeakMap<ClusterConnection, Map<string, Discovered>>();

/**
 * The kinds of one group and version that the API server offers.
 * @param maxAgeMs for which an answer that was had before will do
 */
export async function kindsOf(
  connection: ClusterConnection,
  apiVersion: string,
  maxAgeMs = 0,
): Promise<ReadonlySet<string>> {
  const known = discovered.get(connection) ?? new Map<string, Discovered>();
  discovered.set(connection, known);
  const askedAt = Date.now();
  const found = known.get(apiVersion);
  if (found !== undefined && askedAt - found.askedAt < maxAgeMs) return found.kinds;
  const group = await absentAsUndefined(
    requestJson<{ resources: { kind: string }[] }>(connection, {
      method: 'GET',
      path: groupPath(apiVersion),
      attempt: `discover the kinds of ${apiVersion}`,
    }),
  );
  const kinds = new Set(group?.resources.map(({ kind }) => kind));
  known.set(apiVersion, { askedAt, kinds });
  return kinds;
}

/** Name of a kind's CustomResourceDefinition, e.g. "routes.route.openshift.io". */
export function crdName({ apiVersion, kind }: Pick<ObjectReference, 'apiVersion' | 'kind'>): string {
  return `${resourceOf(kind)}.${apiVersion.split('/')[0]}`;
}

/** A path segment of the URL for one kind, e.g. "routes". */
export function resourceOf(kind: string): string {
  const resource = RESOURCES[kind];
  if (resource === undefined)
    throw new FederatorError('Internal', `The engine does not deal with objects of kind ${kind}.`);
  return resource;
}

function patch(
  connection: ClusterConnection,
  body: ObjectReference,
  contentType: string,
  query: Record<string, string>,
  verb: string,
): Promise<KubernetesObject> {
  const request: KubernetesRequest = {
    method: 'PATCH',
    path: objectPath(body),
    query: { fieldManager: FIELD_MANAGER, ...query },
    body,
    contentType,
    attempt: `${verb} ${objectName(body)}`,
  };
  return requestJson(connection, request);
}

function groupPath(apiVersion: string): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

/** Path of all objects of a kind, in a namespace or in the whole cluster. */
export function collectionPath(apiVersion: string, kind: string, namespace: string | undefined): string {
  const scope = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${groupPath(apiVersion)}${scope}/${resourceOf(kind)}`;
}

function objectPath({ apiVersion, kind, metadata }: ObjectReference): string {
  return `${collectionPath(apiVersion, kind, metadata.namespace)}/${encodeURIComponent(metadata.name)}`;
}

async function absentAsUndefined<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof FederatorError && error.type === 'NotFound') return undefined;
    throw error;
  }
}
