import type { PermissionUse } from '../contract/activities.js';
import type { ControlType } from '../contract/control.js';
import type { ExposureFacts } from '../contract/facts.js';
import type { Cluster } from '../contract/inventory.js';
import { BUNDLE_ENDPOINT_OBJECT, CONTROLLER_MANAGER, PROBE_NAMESPACE } from '../contract/names.js';
import { OPERATOR_DEPLOYMENT } from '../federation/controlDetection.js';
import { EXPOSING_KINDS, neededExposure, type ExposingKind } from '../federation/exposingKinds.js';
import { PROBE_ENDPOINT, PROBE_ROLES, probeExposure } from '../federation/probe.js';
import { SPIRE_SERVER } from '../federation/spireServerPlan.js';
import { describePermission, type Permission } from '../kubernetes/access.js';

type Resource = Omit<Permission, 'verb'>;
type NamedResource = Resource & { name: string };

/** What is known of a cluster that decides what is done there. */
export interface KnownOfCluster {
  /** Whether the cluster knows ZTWIM's SpireServer. */
  operated?: boolean;
  /** Undefined where it could not be told. */
  control?: ControlType | undefined;
  /** Kinds of the engine's own objects that expose the endpoint now; those of another way have to go. */
  exposedBy?: readonly string[];
}

/**
 * What the engine must be allowed to do on a cluster for reading it and for these uses, each once; deploy/rbac.yaml
 * grants just what all of them take.
 * @param exposure undefined where it could not be found out
 */
export function requiredPermissions(
  cluster: Cluster,
  exposure: ExposureFacts | undefined,
  uses: readonly PermissionUse[],
  known: KnownOfCluster = {},
): Permission[] {
  const all = (['read', ...uses] as const).flatMap((use) => BY_USE[use](cluster, exposure, known));
  return [...new Map(all.map((permission) => [describePermission(permission), permission])).values()];
}

type ByUse = (cluster: Cluster, exposure: ExposureFacts | undefined, known: KnownOfCluster) => Permission[];

const OPERATED_BY: NamedResource = {
  group: 'operator.openshift.io',
  resource: 'spireservers',
  name: SPIRE_SERVER.metadata.name,
};
const RELATIONSHIPS: Resource = { group: 'spire.spiffe.io', resource: 'clusterfederatedtrustdomains' };
const IDENTITIES: Resource = { group: 'spire.spiffe.io', resource: 'clusterspiffeids' };
const SERVICES: Resource = { group: '', resource: 'services' };
const ROUTES: Resource = { group: 'route.openshift.io', resource: 'routes' };

const BY_USE: Readonly<Record<'read' | PermissionUse, ByUse>> = {
  read(cluster, exposure, { operated = false }) {
    const { configMap, statefulSet, pod, endpoint } = serverObjects(cluster, exposure);
    const { namespace } = cluster;
    const operator = { group: 'apps', resource: 'deployments', namespace, name: OPERATOR_DEPLOYMENT };
    return [
      ...allowed(RELATIONSHIPS, 'get', 'list'),
      ...allowed(IDENTITIES, 'get', 'list'),
      ...[configMap, statefulSet, pod, ...endpoint].flatMap((object) => allowed(object, 'get')),
      ...allowed({ ...configMap, name: CONTROLLER_MANAGER }, 'get'),
      ...executed(pod),
      ...allowed({ ...pod, subresource: 'log' }, 'get'),
      ...(operated ? [OPERATED_BY, operator].flatMap((object) => allowed(object, 'get')) : []),
    ];
  },

  change(cluster, exposure, { control, exposedBy = [] }) {
    const { configMap, statefulSet, pod, endpoint } = serverObjects(cluster, exposure);
    const { namespace } = cluster;
    const leaving = EXPOSING_KINDS.filter(({ kind }) => exposedBy.includes(kind))
      .map(asResource)
      .filter(({ resource }) => !endpoint.some((object) => object.resource === resource));
    // The undo of a Route's removal writes the host that it had.
    const hosted =
      (exposure?.type === 'route' && exposure.host !== undefined) ||
      leaving.some(({ resource }) => resource === ROUTES.resource);
    return [
      ...allowed(RELATIONSHIPS, 'create', 'patch', 'delete'),
      ...allowed(IDENTITIES, 'create', 'patch', 'delete'),
      ...(control === 'operator'
        ? allowed(OPERATED_BY, 'patch')
        : [...allowed(configMap, 'patch'), ...allowed(statefulSet, 'patch')]),
      ...allowed(pod, 'delete'),
      // The operator makes the Route and the port of its own Service.
      ...(exposure?.type === 'managedRoute' ? [] : endpoint.flatMap(written)),
      ...leaving.flatMap((kind) => written({ ...kind, namespace, name: BUNDLE_ENDPOINT_OBJECT })),
      ...(hosted ? allowed({ ...ROUTES, namespace, subresource: 'custom-host' }, 'create', 'update') : []),
    ];
  },

  probe(_cluster, exposure) {
    const namespace = PROBE_NAMESPACE;
    const pods = PROBE_ROLES.map((name) => ({ group: '', resource: 'pods', namespace, name }));
    const reached = exposure && probeExposure(exposure);
    const endpoint = reached === undefined ? [] : exposing(reached, { namespace, name: PROBE_ENDPOINT });
    return [
      ...allowed(IDENTITIES, 'get', 'create', 'patch', 'delete'),
      ...[...pods, ...endpoint].flatMap((object) => [...allowed(object, 'get'), ...written(object)]),
      ...pods.flatMap(executed),
    ];
  },

  monitor(cluster, exposure) {
    const { configMap, statefulSet, pod, endpoint } = serverObjects(cluster, exposure);
    return [RELATIONSHIPS, IDENTITIES, configMap, statefulSet, pod, ...endpoint].flatMap((object) =>
      allowed(object, 'list', 'watch'),
    );
  },
};

/** What makes up a SPIRE server and its bundle endpoint. */
function serverObjects({ namespace, server }: Cluster, exposure: ExposureFacts | undefined) {
  return {
    configMap: { group: '', resource: 'configmaps', namespace, name: server },
    statefulSet: { group: 'apps', resource: 'statefulsets', namespace, name: server },
    pod: { group: '', resource: 'pods', namespace, name: `${server}-0` },
    endpoint: exposing(exposure, { namespace, name: BUNDLE_ENDPOINT_OBJECT }),
  };
}

/** The Service and, where the exposure has one, what leads to it. */
function exposing(exposure: ExposureFacts | undefined, at: { namespace: string; name: string }): NamedResource[] {
  const leading = EXPOSING_KINDS.filter(
    (each) => exposure !== undefined && each.exposure === neededExposure(exposure),
  ).map(asResource);
  return [SERVICES, ...leading].map((kind) => ({ ...kind, ...at }));
}

function asResource({ group, resource }: ExposingKind): Resource {
  return { group, resource };
}

/** Making, changing and removing one object. Kubernetes cannot limit "create" to a name. */
function written({ name, ...kind }: NamedResource): Permission[] {
  return [...allowed(kind, 'create'), ...allowed({ ...kind, name }, 'patch', 'delete')];
}

/** Which of the two opens a web socket depends on the version of Kubernetes. */
function executed(pod: NamedResource): Permission[] {
  return allowed({ ...pod, subresource: 'exec' }, 'get', 'create');
}

function allowed(resource: Resource, ...verbs: string[]): Permission[] {
  return verbs.map((verb) => ({ verb, ...resource }));
}
