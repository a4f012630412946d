import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import type { FindMembersRequest, FoundMembers, ReadFactsRequest } from '../contract/activities.js';
import type { ControlFacts } from '../contract/control.js';
import { FederatorError } from '../contract/errors.js';
import type {
  BundleFacts,
  ClusterFacts,
  FactsResult,
  IdentitiesResult,
  Problem,
  ProfileFacts,
} from '../contract/facts.js';
import { DEFAULT_NAMESPACE, DEFAULT_SERVER, type Cluster } from '../contract/inventory.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { MANAGED_BY, MANAGED_BY_LABEL, SERVER_FEDERATION } from '../contract/names.js';
import { sameProfile, type EndpointProfile, type ServerConf } from '../contract/serverConf.js';
import { exposureStrategy } from '../federation/exposure.js';
import { owningFederation } from '../federation/ownership.js';
import { readIdentity } from '../federation/identity.js';
import { pendingBundles } from '../federation/pendingBundles.js';
import { exposureContext } from '../federation/plan.js';
import { CLUSTER_SPIFFE_ID } from '../federation/policy.js';
import { CFTD } from '../federation/relationship.js';
import { endpointPort } from '../federation/serverConfPlan.js';
import { SPIRE_SERVER } from '../federation/spireServerPlan.js';
import { describePermission, missingPermissions } from '../kubernetes/access.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { crdName, kindExists, kindsOf, listObjects, readObject } from '../kubernetes/objects.js';
import { requestJson } from '../kubernetes/request.js';
import { isReady, isRolledOut, readPod, readStatefulSet, type Pod, type StatefulSet } from '../kubernetes/rollout.js';
import {
  bundleFingerprint,
  bundleKeyIds,
  earliestExpiry,
  parseBundle,
  requireOwnBundle,
  type TrustBundle,
} from '../spire/bundle.js';
import { fetchBundleEndpoint } from '../spire/endpoint.js';
import { readServerConf, recordedPeers, type ServerConfRecord } from '../spire/serverConf.js';
import { readServerConfRecord } from './annotation.js';
import type { Clusters, OpenCluster } from './clusters.js';
import { readControllerManager, watchedClass } from './controllerManager.js';
import { readControl } from './controlFacts.js';
import { endpointIdentity, speaksForBundle, webAuthorities } from './endpoint.js';
import { declaredExposure, readEndpointObjects, resolveExposure } from './exposureFacts.js';
import { endpointDifference } from './observe.js';
import { readConfigHash } from './operatorControl.js';
import { requiredPermissions } from './permissions.js';
import { relationshipFacts } from './relationships.js';
import { readServerConfMap, readTemplate, runsWritten } from './server.js';
import { whyDown } from './serverDown.js';

/** What may be gone with the next attempt; a cluster that cannot be reached is not waited for. */
const PASSING: ReadonlySet<Problem['type']> = new Set(['KubernetesUnavailable', 'ExecFailed', 'SpireUnavailable']);
/** An endpoint that takes longer is not waited for: its server is asked. */
const PROOF_MS = 2_000;
/** So often a cluster is read before what passes counts as a problem. */
const TRIES = 3;

/** Reading clusters as they are. */
export function factsActivities(clusters: Clusters) {
  return {
    /** Everything a plan needs to know of one cluster, and everything that stands in its way, at once. Changes nothing. */
    async readFacts(request: ReadFactsRequest): Promise<FactsResult> {
      const problems = new Problems(request.cluster);
      const facts = await problems.collect(readClusterFacts(clusters, request, problems));
      tryPassingAgain(problems);
      return facts === undefined || problems.list.length > 0 ? { problems: problems.list } : { facts, problems: [] };
    },

    /** The ClusterSPIFFEIDs of a cluster, which take no question to its SPIRE server. Changes nothing. */
    async readIdentities({ cluster }: { cluster: string }): Promise<IdentitiesResult> {
      const problems = new Problems(cluster);
      const found = await problems.collect(
        clusters.get(cluster).then(({ connection }) => listObjects(connection, CLUSTER_SPIFFE_ID)),
      );
      tryPassingAgain(problems);
      return { ...(found === undefined ? {} : { identities: found.map(readIdentity) }), problems: problems.list };
    },

    /** Clusters of the inventory that carry a federation's objects, and those that could not be asked. */
    async findMembers({ federation, clusters: names }: FindMembersRequest): Promise<FoundMembers> {
      const listed = names ?? (await clusters.read()).clusters.map(({ name }) => name);
      const asked = await Promise.all(
        listed.map(async (name) => {
          const problems = new Problems(name);
          const found = await problems.collect(clusters.get(name).then(({ connection }) => memberOf(connection)));
          return { name, found, problems: problems.list };
        }),
      );
      const federations = new Map<string, string[]>();
      for (const { name, found } of asked) {
        if (found !== undefined && found !== federation)
          federations.set(found, [...(federations.get(found) ?? []), name]);
      }
      return {
        members: asked.filter(({ found }) => found === federation).map(({ name }) => name),
        others: asked
          .filter(({ found, problems }) => found !== federation && problems.length === 0)
          .map(({ name }) => name),
        federations: Object.fromEntries(federations),
        unknown: asked.flatMap(({ problems }) => problems),
      };
    },
  };
}

/** @throws FederatorError so that Temporal tries again what may be gone by then */
function tryPassingAgain({ list }: Problems): void {
  const passing = list.find(({ type }) => PASSING.has(type));
  if (passing !== undefined && Context.current().info.attempt < TRIES)
    throw new FederatorError(passing.type, passing.message);
}

/** Problems of one cluster, collected so that all are reported at once. */
class Problems {
  readonly list: Problem[] = [];

  constructor(private readonly cluster: string) {}

  /** The outcome, or undefined where a known error became a problem. */
  async collect<T>(work: Promise<T>): Promise<T | undefined> {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof FederatorError)) throw error;
      this.add(error.type, error.message);
      return undefined;
    }
  }

  addAll({ list }: Problems): void {
    for (const { type, message } of list) this.add(type, message);
  }

  add(type: Problem['type'], message: string): void {
    // Different reads often fail for one reason.
    if (!this.list.some((problem) => problem.message === message))
      this.list.push({ cluster: this.cluster, type, message });
  }
}

async function readClusterFacts(
  clusters: Clusters,
  { cluster: name, permissions, maxAgeMs = 0, storedReading }: ReadFactsRequest,
  problems: Problems,
): Promise<ClusterFacts | undefined> {
  const open = await clusters.get(name);
  const { connection, spire } = open;
  const { cluster } = connection;
  const signal = Context.current().cancellationSignal;
  // Nothing else can be asked of a cluster that cannot be reached or does not accept the credentials.
  await requestJson(connection, { method: 'GET', path: '/version', attempt: 'ask its version' });

  // Before a change, a bundle that was read a while ago will do where the endpoint proves that it holds.
  const earlier = permissions === undefined ? spire.recentBundle(maxAgeMs) : spire.provableBundle();
  const seen = storedReading === undefined ? undefined : spire.storedSince(storedReading, maxAgeMs);
  // All at once; what of it is reported depends on what else is wrong.
  const reads = new Problems(name);
  const asked = new Problems(name);
  const reading = reads.collect(readPod(connection, cluster.namespace, `${cluster.server}-0`));
  const rest = Promise.all([
    reads.collect(checkKinds(connection, reads, maxAgeMs)),
    reads.collect(readStatefulSet(connection, cluster.namespace, cluster.server)),
    reading,
    reads.collect(readServerConfMap(connection)),
    reads.collect(readControllerManager(connection)),
    reads.collect(listObjects(connection, CFTD)),
    reads.collect(listObjects(connection, CLUSTER_SPIFFE_ID)),
    Promise.all([
      asked.collect(reading.then((found) => spire.version(signal, imageId(found, cluster.server)))),
      asked.collect((async () => earlier ?? spire.bundle(signal))()),
      asked.collect((async () => seen ?? spire.storedBundles(signal))()),
    ]),
  ]);
  // It is awaited below; until then something else may fail.
  rest.catch(() => undefined);
  const operated = await kindExists(connection, SPIRE_SERVER.apiVersion, SPIRE_SERVER.kind, maxAgeMs);
  const control = await reads.collect(readControl(connection, { operated, preflight: permissions !== undefined }));
  const exposure = await problems.collect(
    control === undefined ? declaredExposure(connection, maxAgeMs) : resolveExposure(connection, control, maxAgeMs),
  );
  const endpointObjects = exposure && (await reads.collect(readEndpointObjects(connection, exposure)));
  const exposedBy = (endpointObjects ?? [])
    .filter((object) => owningFederation(object) !== undefined)
    .map(({ kind }) => kind);
  const known = { operated, control: control?.type, exposedBy };
  const missing =
    permissions &&
    (await reads.collect(missingPermissions(connection, requiredPermissions(cluster, exposure, permissions, known))));
  const [kinds, set, pod, serverConf, controllerManager, relationships, identities, answers] = await rest;
  if (missing !== undefined && missing.length > 0) {
    // Whatever else failed, it failed for this.
    problems.add(
      'Forbidden',
      `${name}: the engine's account may not: ${missing.map(describePermission).join('; ')}. Apply deploy/rbac.yaml on that cluster${rbacNames(cluster)}.`,
    );
    return undefined;
  }
  problems.addAll(reads);
  if (set === undefined || kinds === undefined || control === undefined) return undefined;
  const conf = serverConf && (await problems.collect((async () => readServerConf(serverConf.text))()));
  if (pod === undefined || !isReady(pod)) {
    const why = pod === undefined ? `there is no pod ${cluster.server}-0` : await whyDown(connection, pod);
    problems.add(
      'SpireUnavailable',
      `${name}: SPIRE server is not running: ${why}. Mend it first: kubectl -n ${cluster.namespace} describe pod ${cluster.server}-0`,
    );
    return undefined;
  }
  problems.addAll(asked);
  if (permissions !== undefined) await problems.collect(webAuthorities(cluster));
  const className = controllerManager?.className;
  if (cluster.className !== undefined && className !== undefined && cluster.className !== className) {
    problems.add(
      'InvalidInput',
      `${name}: the inventory says className ${cluster.className}, but SPIRE controller manager watches ${className}: it would ignore every object of the engine. Correct or remove className in the inventory.`,
    );
  }
  const [version, found, stored] = answers;
  if (!conf || found === undefined || stored === undefined || version === undefined || exposure === undefined)
    return undefined;
  if (endpointObjects === undefined || relationships === undefined || identities === undefined) return undefined;
  const { httpsProxy } = await clusters.read();
  const selector = set.spec.selector.matchLabels ?? {};
  const record = control.type === 'configMap' ? readServerConfRecord(name, serverConf?.map) : undefined;
  const context = {
    namespace: cluster.namespace,
    selector,
    serverConf: conf,
    ...(record?.endpoint === undefined ? {} : { recordedEndpoint: record.endpoint }),
    exposure,
    trustDomain: conf.trustDomain,
  };
  const endpointUrl = exposureStrategy(exposure.type).endpointUrl(exposureContext(context), endpointObjects);
  const isProven =
    permissions === undefined ||
    earlier === undefined ||
    (await provesBundle(open, endpointUrl, conf, earlier, httpsProxy));
  const own = isProven ? found : await problems.collect(spire.bundle(signal));
  if (own === undefined) return undefined;
  const bundle = parseBundle(own);
  await problems.collect((async () => requireOwnBundle(name, conf.trustDomain, own))());
  const template = readTemplate(connection, set, endpointPort(context));
  const configHash = readConfigHash(set);
  const federation = membership([...relationships, ...endpointObjects], control, {
    configMap: record?.federation,
    statefulSet: template.federation,
  });
  const { recorded, peers } = writtenBefore(control, record);
  const pending = control.type === 'operator' ? (control.pendingBundles ?? []) : pendingBundles(serverConf?.map);
  const rolledOut =
    control.type === 'configMap' && recorded && runsWritten(conf, peers, template, isRolledOut(set, pod));
  const facts: ClusterFacts = {
    ...context,
    cluster: name,
    server: cluster.server,
    spireVersion: version,
    className: watchedClass(connection, controllerManager),
    ...(controllerManager?.watchClassless === true ? { watchClassless: true } : {}),
    profile: profileFacts(cluster, conf, record),
    control,
    bundle: bundleFacts(bundle),
    endpointObjects,
    serverConfRecorded: recorded,
    recordedPeers: peers,
    statefulSet: {
      ...template,
      ...(configHash === undefined ? {} : { configHash }),
      ...(rolledOut ? { rolledOut } : {}),
    },
    container: containerFacts(connection, set),
    relationships: relationships.map(relationshipFacts),
    ...(pending.length === 0 ? {} : { pendingBundles: pending }),
    storedBundles: Object.fromEntries([...stored].map(([domain, each]) => [domain, bundleFacts(each)])),
    identities: identities.map(readIdentity),
    ...(federation === undefined ? {} : { federation }),
  };
  if (endpointUrl === undefined) return facts;
  const problem =
    permissions !== undefined ? await webProblem(connection, conf, endpointUrl, own, httpsProxy) : undefined;
  return { ...facts, endpointUrl, ...(problem === undefined ? {} : { profile: { ...facts.profile, problem } }) };
}

/** Whether the endpoint, authenticated by a server's own bundle as it was a while ago, serves just its keys now. */
async function provesBundle(
  { connection: { cluster }, spire }: OpenCluster,
  endpointUrl: string | undefined,
  conf: ServerConf,
  bundle: string,
  httpsProxy: string | undefined,
): Promise<boolean> {
  if (endpointUrl === undefined || !speaksForBundle(conf)) return false;
  const askedAt = Date.now();
  const difference = endpointDifference(cluster, endpointUrl, conf, bundle, httpsProxy);
  if ((await Promise.race([difference, delay(PROOF_MS, 'late', { ref: false })])) !== undefined) return false;
  spire.proveBundle(bundle, askedAt);
  return true;
}

/** How the endpoint is to authenticate itself: as the inventory says, else as it was set up or server.conf has it. */
function profileFacts(
  { bundleEndpoint }: Cluster,
  { bundleEndpoint: found }: ServerConf,
  record?: Pick<ServerConfRecord, 'endpoint'>,
): ProfileFacts {
  const { profile } = record?.endpoint ?? found ?? {};
  const type = bundleEndpoint?.profile ?? (profile?.type === 'https_web' ? 'https_web' : 'https_spiffe');
  const privateAuthority = bundleEndpoint?.profile === 'https_web' && bundleEndpoint.webPkiCA !== undefined;
  const wanted = wantedProfile(bundleEndpoint);
  return { type, privateAuthority, ...(wanted === undefined ? {} : { wanted }) };
}

function wantedProfile(asked: Cluster['bundleEndpoint']): EndpointProfile | undefined {
  if (asked === undefined || asked.profile === 'https_spiffe') return asked && { type: asked.profile };
  const { profile: type, servingCertFile, acme } = asked;
  if (servingCertFile !== undefined) return { type, servingCertFile };
  return acme && { type, acme };
}

/** What a container runs, as a digest; undefined where its status does not say. */
function imageId(pod: Pod | undefined, container: string): string | undefined {
  return pod?.status?.containerStatuses?.find(({ name }) => name === container)?.imageID;
}

function containerFacts({ cluster }: ClusterConnection, set: StatefulSet): ClusterFacts['container'] {
  const container = set.spec.template.spec?.containers.find((each) => each.name === cluster.server);
  return {
    mountPaths: container?.volumeMounts?.map(({ mountPath }) => mountPath) ?? [],
    environment: container?.env?.map(({ name }) => name) ?? [],
  };
}

/** Why nobody would believe an endpoint that serves https_web already and is to go on with it. */
async function webProblem(
  { cluster }: ClusterConnection,
  conf: ServerConf,
  endpointUrl: string,
  own: string,
  httpsProxy: string | undefined,
): Promise<string | undefined> {
  const { profile } = conf.bundleEndpoint ?? {};
  const { wanted } = profileFacts(cluster, conf);
  if (profile?.type !== 'https_web' || (wanted !== undefined && !sameProfile(profile, wanted))) return undefined;
  const identity = await endpointIdentity(cluster, conf, own);
  try {
    await fetchBundleEndpoint({ cluster: cluster.name, url: endpointUrl, identity, httpsProxy });
    return undefined;
  } catch (error) {
    if (!(error instanceof FederatorError)) throw error;
    // What cannot be reached now may be what the change is to mend.
    return error.type === 'EndpointNotAuthentic' ? error.message : undefined;
  }
}

/** deploy/rbac.yaml grants by name, so other names must be put into it first. */
function rbacNames({ namespace, server }: Cluster): string {
  return namespace === DEFAULT_NAMESPACE && server === DEFAULT_SERVER
    ? ''
    : `, with namespace ${namespace} and server ${server} in it (it is written for ${DEFAULT_NAMESPACE} and ${DEFAULT_SERVER})`;
}

/** Whether the engine configured the server before, and which static peers are its own. */
function writtenBefore(
  control: ControlFacts,
  record: ServerConfRecord | undefined,
): { recorded: boolean; peers: string[] } {
  if (control.type === 'operator') {
    return { recorded: control.record !== undefined, peers: control.record?.peers ?? [] };
  }
  return { recorded: record !== undefined, peers: record === undefined ? [] : recordedPeers(record) };
}

/** The federation that a cluster is a member of, also if all that is left of it is an unfinished teardown. */
async function memberOf(connection: ClusterConnection): Promise<string | undefined> {
  const labelSelector = `${MANAGED_BY_LABEL}=${MANAGED_BY}`;
  const relationships = await listObjects(connection, CFTD, { labelSelector });
  const related = relationships.map(owningFederation).find((each) => each !== undefined);
  // Most members have one, and nothing else has to be read of them.
  if (related !== undefined) return related;
  const { namespace, server: name } = connection.cluster;
  const metadata = { namespace, name };
  const [objects, serverConf, server, control] = await Promise.all([
    declaredExposure(connection).then((exposure) => readEndpointObjects(connection, exposure)),
    readObject(connection, { apiVersion: 'v1', kind: 'ConfigMap', metadata }),
    readObject(connection, { apiVersion: 'apps/v1', kind: 'StatefulSet', metadata }),
    readControl(connection),
  ]);
  const record = control.type === 'configMap' ? readServerConfRecord(connection.cluster.name, serverConf) : undefined;
  return membership(objects, control, {
    configMap: record?.federation,
    statefulSet: server?.metadata.annotations?.[SERVER_FEDERATION],
  });
}

/**
 * The federation by what the engine wrote into others' objects, where the server is configured now, or by its own objects,
 * of which somebody may have edited a label. What it left elsewhere, before an operator took over or was put into
 * create-only mode, no teardown would remove.
 */
function membership(
  objects: readonly KubernetesObject[],
  control: ControlFacts,
  noted: { configMap: string | undefined; statefulSet: string | undefined },
): string | undefined {
  const notes = control.type === 'operator' ? [control.record?.federation] : [noted.configMap, noted.statefulSet];
  return [...notes, ...objects.map(owningFederation)].find((each) => each !== undefined);
}

async function checkKinds(connection: ClusterConnection, problems: Problems, maxAgeMs: number): Promise<true> {
  const { name } = connection.cluster;
  const kinds = await kindsOf(connection, CFTD.apiVersion, maxAgeMs);
  const absent = [CFTD, CLUSTER_SPIFFE_ID].filter(({ kind }) => !kinds.has(kind)).map(crdName);
  if (absent.length > 0) {
    problems.add(
      'NotFound',
      `${name}: CRD ${absent.join(', ')} is absent. Install SPIRE controller manager on that cluster.`,
    );
  }
  return true;
}

function bundleFacts(bundle: TrustBundle): BundleFacts {
  const expiresAt = earliestExpiry(bundle);
  return {
    fingerprint: bundleFingerprint(bundle),
    keyIds: bundleKeyIds(bundle),
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}
