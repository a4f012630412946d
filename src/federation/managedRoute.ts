import type { ControlFacts } from '../contract/control.js';
import type { ClusterFacts } from '../contract/facts.js';
import type { Exposure } from '../contract/inventory.js';
import { BUNDLE_ENDPOINT_PORT_NAME } from '../contract/names.js';
import type { ExposureStrategy } from './exposure.js';

/** Host of the Route that ZTWIM's operator makes (ztwim: pkg/controller/spire-server/routes.go). */
export function managedHost(trustDomain: string): string {
  return `federation.${trustDomain}`;
}

/** The Route of ZTWIM's operator. It is there once SpireServer has spec.federation; its address is known before. */
export const managedRoute: ExposureStrategy = {
  objects: () => [],
  endpointUrl: ({ trustDomain }) => `https://${managedHost(trustDomain)}`,
};

/** Whether the inventory leaves it to the cluster how the endpoint is exposed. */
export function isLeftToCluster(exposure: Exposure | undefined): boolean {
  return exposure === undefined || (exposure.type === 'route' && exposure.host === undefined);
}

/**
 * Whether others reach the endpoint by the operator's Route. It makes one unless it was told not to, or the inventory
 * says otherwise; in create-only mode it has one only if it made it before.
 */
export function usesManagedRoute(exposure: Exposure | undefined, control: ControlFacts): boolean {
  if (!isLeftToCluster(exposure)) return false;
  const managed = control.federation?.managedRoute;
  if (control.type === 'configMap') return managed === 'true';
  // What the engine has switched on, and somebody off since, is to be on.
  return managed !== 'false' || control.record?.written.managedRoute === 'true';
}

/** Whether the operator makes the Route: unless the inventory says otherwise, or its administrator has said so before. */
export function wantedManagedRoute(facts: ClusterFacts): 'true' | 'false' {
  if (facts.exposure.type === 'managedRoute') return 'true';
  // A Route of the engine's would have the name of the operator's, which would take it over.
  if (facts.exposure.type === 'route') return 'false';
  return facts.control.type === 'operator' && facts.control.federation?.managedRoute === 'true' ? 'true' : 'false';
}

/** What others rely on in the operator's Route. */
export function managedRouteSpec(trustDomain: string): object {
  return {
    host: managedHost(trustDomain),
    port: { targetPort: BUNDLE_ENDPOINT_PORT_NAME },
    tls: { termination: 'passthrough' },
  };
}
