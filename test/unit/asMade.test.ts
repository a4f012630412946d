import type { KubernetesObject } from '../../src/contract/kubernetes.js';
import { cleaningPatch, isAsMade } from '../../src/federation/asMade.js';
import { exposureStrategy } from '../../src/federation/exposure.js';
import { owned } from '../../src/federation/ownership.js';
import { exposureContext } from '../../src/federation/plan.js';
import { renderPolicy } from '../../src/federation/policy.js';
import { freshCluster } from '../support/freshCluster.js';

const FEDERATION = 'demo';
const facts = freshCluster('a');

function made(exposure: typeof facts.exposure, kind: string): KubernetesObject {
  const object = exposureStrategy(exposure.type)
    .objects(exposureContext({ ...facts, exposure }))
    .find((each) => each.kind === kind);
  if (object === undefined) throw new Error(`${exposure.type} makes no ${kind}`);
  return owned(object, FEDERATION);
}

function withSpec(object: KubernetesObject, spec: object): KubernetesObject {
  return { ...object, spec: { ...(object['spec'] as object), ...spec } };
}

const service = made({ type: 'route' }, 'Service');
const [port] = (service['spec'] as { ports: Record<string, unknown>[] }).ports;
/** As the API server completes it. */
const live = withSpec(service, {
  clusterIP: '10.0.0.7',
  clusterIPs: ['10.0.0.7'],
  internalTrafficPolicy: 'Cluster',
  sessionAffinity: 'None',
});
const balancer = made({ type: 'loadBalancer' }, 'Service');
const liveBalancer = withSpec(balancer, { allocateLoadBalancerNodePorts: true, externalTrafficPolicy: 'Cluster' });
const ingress = made({ type: 'ingress', host: 'a.test' }, 'Ingress');
const policy = renderPolicy({ type: 'label', name: 'p', labels: { app: 'x' } }, facts, [], FEDERATION);
const route = made({ type: 'route' }, 'Route');
const completedRoute = { to: { kind: 'Service', name: 'spire-server-federation', weight: 100 } };

test.each([
  ['Service', live, service],
  ['Service with a load balancer', liveBalancer, balancer],
  ['Ingress', withSpec(ingress, { ingressClassName: 'of-the-cluster' }), ingress],
  ['Route', withSpec(route, { ...completedRoute, host: 'assigned.test', wildcardPolicy: 'None' }), route],
  ['ClusterSPIFFEID', { ...policy, status: { stats: {} } }, policy],
])('%s as the API server completes it is as made', (_kind, completed, wanted) => {
  expect(isAsMade(completed, wanted)).toBe(true);
  expect(cleaningPatch(completed, wanted)).toBeUndefined();
});

test.each<[string, KubernetesObject, KubernetesObject, unknown]>([
  [
    'a key in the selector of a Service',
    withSpec(live, { selector: { app: 'spire-server', stranger: 'true' } }),
    service,
    { selector: { stranger: null } },
  ],
  ['another port of a Service', withSpec(live, { ports: [{ ...port, port: 9443 }] }), service, { ports: [port] }],
  [
    'a port more on a Service',
    withSpec(live, { ports: [port, { ...port, name: 'stranger', port: 9443 }] }),
    service,
    { ports: [port] },
  ],
  [
    'whom a Service lets in, and by which addresses',
    withSpec(live, {
      externalIPs: ['192.0.2.9'],
      externalTrafficPolicy: 'Local',
      internalTrafficPolicy: 'Local',
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 10 } },
      publishNotReadyAddresses: true,
    }),
    service,
    {
      externalIPs: null,
      externalTrafficPolicy: 'Cluster',
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: 'None',
      sessionAffinityConfig: null,
      publishNotReadyAddresses: null,
    },
  ],
  [
    'whom a load balancer lets in',
    withSpec(liveBalancer, { loadBalancerSourceRanges: ['192.0.2.0/24'], externalTrafficPolicy: 'Local' }),
    balancer,
    { loadBalancerSourceRanges: null, externalTrafficPolicy: 'Cluster' },
  ],
  [
    'a default backend of an Ingress',
    withSpec(ingress, { defaultBackend: { service: { name: 'stranger', port: { number: 80 } } } }),
    ingress,
    { defaultBackend: null },
  ],
  [
    'a backend besides the one of a Route',
    withSpec(route, { alternateBackends: [{ kind: 'Service', name: 'stranger' }] }),
    route,
    { alternateBackends: null },
  ],
  [
    'that a Route gives its backend nothing',
    withSpec(route, { to: { kind: 'Service', name: 'spire-server-federation', weight: 0 } }),
    route,
    { to: { weight: 100 } },
  ],
  [
    'fields in a ClusterSPIFFEID, at any depth',
    withSpec(policy, { fallback: true, podSelector: { matchLabels: { app: 'x', stranger: 'true' } } }),
    policy,
    { fallback: null, podSelector: { matchLabels: { stranger: null } } },
  ],
])('%s is seen and taken out', (_what, edited, wanted, patch) => {
  expect(isAsMade(edited, wanted)).toBe(false);
  expect(cleaningPatch(edited, wanted)).toEqual(patch);
});

test('the node port that the API server assigned stays when the rest of the port is put right', () => {
  const wanted = made({ type: 'nodePort', host: '192.0.2.1' }, 'Service');
  const edited = withSpec(wanted, { ports: [{ ...port, protocol: 'UDP', nodePort: 30_443 }] });
  expect(cleaningPatch(edited, wanted)).toEqual({ ports: [{ nodePort: 30_443, ...port }] });
});

test('what only server-side apply has to put back takes no patch: a type, an annotation', () => {
  const nodePort = withSpec(live, { type: 'NodePort', ports: [{ ...port, nodePort: 30_443 }] });
  expect(isAsMade(nodePort, service)).toBe(false);
  expect(cleaningPatch(nodePort, service)).toBeUndefined();
  const bare = { ...ingress, metadata: { ...ingress.metadata, annotations: {} } };
  expect(isAsMade(bare, ingress)).toBe(false);
  expect(cleaningPatch(bare, ingress)).toBeUndefined();
});
