import type { KubernetesObject } from '../contract/kubernetes.js';
import { covers, hasLostLabels, mergePatch, owned } from './ownership.js';

type Fields = Readonly<Record<string, unknown>>;

interface ServicePort {
  name?: string;
  port?: number;
  protocol?: string;
  nodePort?: number;
}

/**
 * Whether an object of the engine is as it made it: everything wanted is there, and nothing besides where an addition
 * changes what the object does.
 */
export function isAsMade(live: KubernetesObject, wanted: KubernetesObject): boolean {
  return covers(live, wanted) && covers(specAsMade(live, wanted), live['spec']);
}

/** Whether all that an object of the engine lacks is its labels. */
export function isUnlabelled(live: KubernetesObject, wanted: KubernetesObject, federation: string): boolean {
  return hasLostLabels(live) && isAsMade(owned(live, federation), wanted);
}

/**
 * JSON merge patch (RFC 7386) of the spec that takes out what others put there; undefined where nothing is to be taken
 * out. Server-side apply leaves keys and list items of others, and fails where a list would then name something twice.
 */
export function cleaningPatch(live: KubernetesObject, wanted: KubernetesObject): unknown {
  const target = specAsMade(live, wanted);
  return covers(target, live['spec']) ? undefined : mergePatch(live['spec'], target);
}

/** The live spec without what others added, where that changes what the object does. */
function specAsMade(live: KubernetesObject, wanted: KubernetesObject): unknown {
  switch (wanted.kind) {
    case 'ClusterSPIFFEID':
      return wanted['spec'];
    case 'Route': {
      const { alternateBackends: _backends, to = {}, ...rest } = (live['spec'] ?? {}) as Fields & { to?: Fields };
      // One without weight gets nothing.
      return { ...rest, to: to['weight'] === undefined ? to : { ...to, weight: ROUTE_WEIGHT } };
    }
    case 'Ingress': {
      // The wanted rule takes all there is; a default backend would get what is for nobody.
      const { defaultBackend: _backend, ...rest } = (live['spec'] ?? {}) as Fields;
      return rest;
    }
    case 'Service': {
      const is = withoutLimits((live['spec'] ?? {}) as Fields);
      const { selector, ports } = wanted['spec'] as { selector: unknown; ports: ServicePort[] };
      return { ...is, selector, ports: covers(is['ports'], ports) ? is['ports'] : withNodePorts(is, ports) };
    }
    default:
      return live['spec'];
  }
}

/** What the API server fills in (openshift/api: route/v1, RouteTargetReference). */
const ROUTE_WEIGHT = 100;
/** What somebody can set on a Service so that only some get through, or others than those who are meant to. */
const LIMITS = [
  'externalIPs',
  'loadBalancerSourceRanges',
  'publishNotReadyAddresses',
  'sessionAffinityConfig',
  'trafficDistribution',
];
/** Of fields that the API server fills in, what it fills in (kubernetes: pkg/apis/core/v1/defaults.go, SetDefaults_Service). */
const DEFAULTS: Fields = {
  externalTrafficPolicy: 'Cluster',
  internalTrafficPolicy: 'Cluster',
  sessionAffinity: 'None',
};

function withoutLimits(spec: Fields): Fields {
  return Object.fromEntries(
    Object.entries(spec)
      .filter(([key]) => !LIMITS.includes(key))
      .map(([key, value]) => [key, DEFAULTS[key] ?? value]),
  );
}

/** A node port that the API server assigned is part of an address: it must not change with what is put right beside it. */
function withNodePorts({ ports = [], type }: Fields, wanted: readonly ServicePort[]): ServicePort[] {
  const needed = type === 'NodePort' || type === 'LoadBalancer';
  return wanted.map((each) => {
    const live = (ports as ServicePort[]).find(
      ({ name, port, protocol }) => name === each.name || (port === each.port && protocol === each.protocol),
    );
    return !needed || live?.nodePort === undefined ? each : { nodePort: live.nodePort, ...each };
  });
}
