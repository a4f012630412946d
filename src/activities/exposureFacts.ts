import type { ControlFacts } from '../contract/control.js';
import { FederatorError } from '../contract/errors.js';
import type { ExposureFacts } from '../contract/facts.js';
import type { Exposure } from '../contract/inventory.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { BUNDLE_ENDPOINT_OBJECT } from '../contract/names.js';
import { EXPOSING_KINDS, neededExposure } from '../federation/exposingKinds.js';
import type { ExposureContext } from '../federation/exposure.js';
import { usesManagedRoute } from '../federation/managedRoute.js';
import { withoutSecrets } from '../federation/ownership.js';
import { exposureContext } from '../federation/plan.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { kindExists, readObject } from '../kubernetes/objects.js';
import { readStatefulSet } from '../kubernetes/rollout.js';
import { readServerConf } from '../spire/serverConf.js';
import { readControl } from './controlFacts.js';
import { readServerConfMap } from './server.js';

/** Service, Route and Ingress of the bundle endpoint, those that exist; also of an exposure that was another one before. */
export async function readEndpointObjects(
  connection: ClusterConnection,
  exposure: ExposureFacts,
): Promise<KubernetesObject[]> {
  const metadata = { name: BUNDLE_ENDPOINT_OBJECT, namespace: connection.cluster.namespace };
  const needed = neededExposure(exposure);
  const service = readObject(connection, { apiVersion: 'v1', kind: 'Service', metadata });
  const others = EXPOSING_KINDS.map(async ({ exposure: neededBy, apiVersion, kind }) => {
    try {
      return await readObject(connection, { apiVersion, kind, metadata });
    } catch (error) {
      // Where the engine may not even look, it cannot have made one; what the exposure needs must be readable.
      if (neededBy !== needed && error instanceof FederatorError && error.type === 'Forbidden') return undefined;
      throw error;
    }
  });
  const found = await Promise.all([service, ...others]);
  return found.filter((object) => object !== undefined).map(withoutSecrets);
}

/** How a cluster's endpoint is exposed, and the objects that do it as they are now. */
export async function readExposure(
  connection: ClusterConnection,
): Promise<{ context: ExposureContext; objects: KubernetesObject[] }> {
  const [exposure, { text }, set] = await Promise.all([
    resolveExposure(connection),
    readServerConfMap(connection),
    readStatefulSet(connection, connection.cluster.namespace, connection.cluster.server),
  ]);
  const serverConf = readServerConf(text);
  const context = exposureContext({
    namespace: connection.cluster.namespace,
    selector: set.spec.selector.matchLabels ?? {},
    serverConf,
    exposure,
    trustDomain: serverConf.trustDomain,
  });
  return { context, objects: await readEndpointObjects(connection, exposure) };
}

/**
 * By the operator's Route where it makes one; else as declared.
 * @param kindsMaxAgeMs for which it will do to have asked before whether the cluster has Routes
 */
export async function resolveExposure(
  connection: ClusterConnection,
  control?: ControlFacts,
  kindsMaxAgeMs = 0,
): Promise<ExposureFacts> {
  const [declared, known] = await Promise.all([
    declaredExposure(connection, kindsMaxAgeMs),
    control ?? readControl(connection),
  ]);
  return usesManagedRoute(connection.cluster.exposure, known) ? { type: 'managedRoute' } : declared;
}

/** As the inventory says, else a Route where the cluster has them. */
export async function declaredExposure(connection: ClusterConnection, kindsMaxAgeMs = 0): Promise<Exposure> {
  const { name, exposure } = connection.cluster;
  if (exposure !== undefined && exposure.type !== 'route') return exposure;
  if (await kindExists(connection, 'route.openshift.io/v1', 'Route', kindsMaxAgeMs))
    return exposure ?? { type: 'route' };
  throw new FederatorError(
    'InvalidInput',
    exposure === undefined
      ? `${name}: the cluster has no Routes (route.openshift.io), so how to reach its bundle endpoint must be said: set exposure in the inventory (ingress, loadBalancer, nodePort or address).`
      : `${name}: the inventory wants a Route, but the cluster has none (CRD routes.route.openshift.io is absent). Set another exposure in the inventory.`,
  );
}
