import type { ExposureFacts } from '../contract/facts.js';
import type { Exposure } from '../contract/inventory.js';

/** A kind of object that exposes a port beside its Service, and the exposure that needs it. */
export interface ExposingKind {
  exposure: Exposure['type'];
  apiVersion: string;
  kind: string;
  /** As RBAC names it. */
  group: string;
  resource: string;
}

/** The kinds that some clusters do not have, and that not every exposure needs. */
export const EXPOSING_KINDS: readonly ExposingKind[] = [
  exposingKind('route', 'route.openshift.io', 'Route', 'routes'),
  exposingKind('ingress', 'networking.k8s.io', 'Ingress', 'ingresses'),
];

function exposingKind(exposure: Exposure['type'], group: string, kind: string, resource: string): ExposingKind {
  return { exposure, apiVersion: `${group}/v1`, kind, group, resource };
}

/** The operator's Route is a Route like others to whoever reads it. */
export function neededExposure({ type }: ExposureFacts): Exposure['type'] {
  return type === 'managedRoute' ? 'route' : type;
}
