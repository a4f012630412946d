import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { eventually, type ClusterApi, type Resource } from './kubernetes.js';
import { SPIRE_NAMESPACE, trustDomain } from './layout.js';
import {
  CONFIG_HASH,
  configMap,
  DEPLOYMENT,
  operatorManifests,
  render,
  ROUTE,
  route,
  service,
  statefulSet,
  type FederationSpec,
} from './operatorManifests.js';
import { projectRoot } from './projectRoot.js';
import type { SpireVersion } from './spireVersions.js';

const GROUP = '/apis/operator.openshift.io/v1alpha1';
const SPIRE_SERVER = `${GROUP}/spireservers/cluster`;
const CORE = `/api/v1/namespaces/${SPIRE_NAMESPACE}`;
const APPS = `/apis/apps/v1/namespaces/${SPIRE_NAMESPACE}`;
const ROUTES = `/apis/route.openshift.io/v1/namespaces/${SPIRE_NAMESPACE}/routes`;
interface Condition {
  type: string;
  status: 'True' | 'False';
  reason: string;
  message: string;
}

/**
 * Stands in for the operator of OpenShift's Zero Trust Workload Identity Manager, of which no build can be had here. For
 * tests only. It does what that operator does about federation, and no more: it renders SpireServer into SPIRE server's
 * ConfigMap, StatefulSet, Service and Route, restarts the server by a hash of its configuration, and reverts whatever
 * others change of these; in create-only mode it makes what is missing and changes nothing. Whether it runs, and in
 * which mode, its Deployment says, as it would of the real one.
 */
export class OperatorStandIn {
  private readonly stopping = new AbortController();
  private readonly watches: Promise<void>[] = [];
  private again = false;
  private reconciling: Promise<void> | undefined;

  constructor(
    private readonly cluster: string,
    private readonly spireVersion: SpireVersion,
    private readonly api: ClusterApi,
  ) {}

  /** Makes the operator's kinds, its resources and its Deployment, unless they are there, and begins to act on them. */
  async start(): Promise<void> {
    const crds = readFileSync(path.join(projectRoot(), 'sandbox', 'operator', 'crds.yaml'), 'utf8');
    for (const document of parseAllDocuments(crds)) await this.api.apply(document.toJS() as Resource);
    for (const kind of ['zerotrustworkloadidentitymanagers', 'spireservers']) {
      await eventually(`${this.cluster}: ${kind} is served`, () => this.api.request(`${GROUP}/${kind}?limit=1`));
    }
    for (const object of operatorManifests(this.cluster)) {
      if (!(await this.api.exists(object))) await this.api.apply(object);
    }
    const watched = [
      `${GROUP}/spireservers`,
      `${CORE}/configmaps?fieldSelector=metadata.name=spire-server`,
      `${CORE}/services?fieldSelector=metadata.name=spire-server`,
      `${APPS}/statefulsets?fieldSelector=metadata.name=spire-server`,
      `${APPS}/deployments?fieldSelector=metadata.name=${DEPLOYMENT}`,
      `${ROUTES}?fieldSelector=metadata.name=${ROUTE}`,
    ];
    for (const at of watched) this.watches.push(this.api.watch(at, () => this.enqueue(), this.stopping.signal));
    // It makes the StatefulSet its own, which restarts SPIRE server once.
    await eventually(
      `${this.cluster}: the operator's stand-in has taken over SPIRE server`,
      async () => {
        const set = await this.api.request<Resource>(`${APPS}/statefulsets/spire-server`);
        if (configHash(set) === undefined) throw new Error('the StatefulSet is not its own yet');
        if (!isRolledOut(set)) throw new Error('SPIRE server is not restarted yet');
      },
      120_000,
    );
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await Promise.all(this.watches);
    await this.reconciling;
  }

  /** One reconciliation at a time; what changes meanwhile is looked at next. */
  private enqueue(): void {
    this.again = true;
    this.reconciling ??= (async () => {
      while (this.again && !this.stopping.signal.aborted) {
        this.again = false;
        try {
          await this.reconcile();
        } catch (error) {
          if (this.stopping.signal.aborted) return;
          // Somebody wrote in between, or the API server is away: like the real one, try again a little later.
          console.error(`${this.cluster}: operator stand-in: ${(error as Error).message}`);
          await delay(100);
          this.again = true;
        }
      }
    })().finally(() => (this.reconciling = undefined));
  }

  private async reconcile(): Promise<void> {
    const [server, deployment] = await Promise.all([
      this.api.get(SPIRE_SERVER),
      this.api.get(`${APPS}/deployments/${DEPLOYMENT}`),
    ]);
    if (server === undefined || deployment === undefined || !runs(deployment)) return;
    const createOnly = isCreateOnly(deployment);
    const federation = (server['spec'] as { federation?: FederationSpec }).federation;
    const refused = federation === undefined ? undefined : invalid(federation, trustDomain(this.cluster));
    const conditions = [
      ...modeCondition(server, createOnly),
      condition('ConfigurationValid', refused === undefined, refused ?? 'Configuration validation passed'),
    ];
    if (refused === undefined) {
      const owner = {
        apiVersion: server.apiVersion,
        kind: server.kind,
        name: 'cluster',
        uid: server.metadata.uid ?? '',
      };
      const text = render(this.cluster, federation);
      await this.keep(`${CORE}/configmaps`, configMap(this.cluster, text, owner), createOnly, sameConfigMap);
      await this.keep(`${CORE}/services`, service(this.cluster, federation, owner), createOnly, covered);
      await this.keep(
        `${APPS}/statefulsets`,
        statefulSet(this.cluster, this.spireVersion, federation, text, owner),
        createOnly,
        covered,
      );
      if (federation?.managedRoute === 'true') {
        await this.keep(ROUTES, route(this.cluster), createOnly, sameRoute);
        conditions.push(condition('RouteAvailable', true, 'Federation route is ready'));
      } else if (federation !== undefined) {
        conditions.push(condition('RouteAvailable', false, 'Federation managed route disabled'));
      }
    }
    await this.report(server, conditions);
  }

  /** Makes an object, or replaces it whole where it is not as it should be. */
  private async keep(
    collection: string,
    wanted: Resource,
    createOnly: boolean,
    isSame: (live: Resource, wanted: Resource) => boolean,
  ): Promise<void> {
    const at = `${collection}/${wanted.metadata.name}`;
    const live = await this.api.get(at);
    if (live === undefined) {
      await this.api.create(wanted);
      return;
    }
    if (createOnly || isSame(live, wanted)) return;
    const { resourceVersion = '' } = live.metadata;
    const spec = live['spec'] as { clusterIP?: string; clusterIPs?: string[] } | undefined;
    const kept = wanted.kind === 'Service' ? { clusterIP: spec?.clusterIP, clusterIPs: spec?.clusterIPs } : {};
    await this.api.request(at, {
      method: 'PUT',
      body: {
        ...wanted,
        metadata: { ...wanted.metadata, resourceVersion },
        ...(wanted['spec'] === undefined ? {} : { spec: { ...(wanted['spec'] as object), ...kept } }),
      },
    });
  }

  private async report(server: Resource, wanted: readonly Condition[]): Promise<void> {
    const known = conditionsOf(server);
    const time = new Date().toISOString().replace(/\.\d+Z/, 'Z');
    const failed = wanted.filter(({ type, status }) => status === 'False' && type !== 'CreateOnlyMode');
    const all = [...wanted, condition('Ready', failed.length === 0, failed[0]?.message ?? 'All components are ready')];
    const next = [
      ...known.filter(({ type }) => !all.some((each) => each.type === type)),
      ...all.map((each) => {
        const before = known.find(({ type }) => type === each.type);
        const same = before?.status === each.status;
        return { ...each, lastTransitionTime: same ? before.lastTransitionTime : time };
      }),
    ];
    const changed = all.some((each) => {
      const before = known.find(({ type }) => type === each.type);
      return before?.status !== each.status || before.message !== each.message;
    });
    if (changed) await this.api.patch(`${SPIRE_SERVER}/status`, { status: { conditions: next } });
  }
}

function sameConfigMap(live: Resource, wanted: Resource): boolean {
  return (
    isDeepStrictEqual(live['data'], wanted['data']) && isDeepStrictEqual(live.metadata.labels, wanted.metadata.labels)
  );
}

function sameRoute(live: Resource, wanted: Resource): boolean {
  return (
    isDeepStrictEqual(live['spec'], wanted['spec']) && isDeepStrictEqual(live.metadata.labels, wanted.metadata.labels)
  );
}

/** Whether an object has everything that is wanted of it; lists must have the same length. */
function covered(live: Resource, wanted: Resource): boolean {
  const covers = (actual: unknown, expected: unknown): boolean => {
    if (typeof expected !== 'object' || expected === null) return actual === expected;
    if (typeof actual !== 'object' || actual === null) return false;
    if (Array.isArray(expected) && (actual as unknown[]).length !== expected.length) return false;
    return Object.entries(expected).every(([key, value]) => covers((actual as Record<string, unknown>)[key], value));
  };
  return covers(live['spec'], wanted['spec']) && covers(live.metadata.labels, wanted.metadata.labels);
}

function configHash(set: Resource): string | undefined {
  const { template } = set['spec'] as { template: { metadata: { annotations?: Record<string, string> } } };
  return template.metadata.annotations?.[CONFIG_HASH];
}

function isRolledOut(set: Resource): boolean {
  const { generation = 0 } = set.metadata as { generation?: number };
  const status = (set['status'] ?? {}) as {
    observedGeneration?: number;
    readyReplicas?: number;
    currentRevision?: string;
    updateRevision?: string;
  };
  const { observedGeneration = 0, readyReplicas, currentRevision, updateRevision } = status;
  return observedGeneration >= generation && readyReplicas === 1 && currentRevision === updateRevision;
}

function runs(deployment: Resource): boolean {
  return (deployment['spec'] as { replicas?: number }).replicas !== 0;
}

function isCreateOnly(deployment: Resource): boolean {
  const { template } = deployment['spec'] as {
    template: { spec: { containers: { env?: { name: string; value?: string }[] }[] } };
  };
  const variables = template.spec.containers.flatMap(({ env = [] }) => env);
  return variables.find(({ name }) => name === 'CREATE_ONLY_MODE')?.value?.toUpperCase() === 'TRUE';
}

/** What the API server does not know to refuse, and the operator refuses. */
function invalid({ federatesWith = [] }: FederationSpec, own: string): string | undefined {
  const self = federatesWith.findIndex((each) => each.trustDomain === own);
  return self < 0 ? undefined : `federatesWith[${self}]: cannot federate with own trust domain ${own}`;
}

function modeCondition(server: Resource, createOnly: boolean): Condition[] {
  const known = conditionsOf(server).some(({ type }) => type === 'CreateOnlyMode');
  if (!createOnly && !known) return [];
  return [
    {
      type: 'CreateOnlyMode',
      status: createOnly ? 'True' : 'False',
      reason: createOnly ? 'CreateOnlyModeEnabled' : 'CreateOnlyModeDisabled',
      message: createOnly ? 'Updates are not reconciled to existing resources' : 'Create-only mode is disabled',
    },
  ];
}

function condition(type: string, isTrue: boolean, message: string): Condition {
  return { type, status: isTrue ? 'True' : 'False', reason: isTrue ? 'Ready' : 'Failed', message };
}

function conditionsOf(server: Resource): (Condition & { lastTransitionTime?: string })[] {
  return (
    (server['status'] as { conditions?: (Condition & { lastTransitionTime?: string })[] } | undefined)?.conditions ?? []
  );
}
