import type { Exposure } from '../../src/contract/inventory.js';
import type { KubernetesObject } from '../../src/contract/kubernetes.js';
import { exposureProblems, exposureStrategy, type ExposureContext } from '../../src/federation/exposure.js';

function context(exposure: Exposure): ExposureContext {
  return {
    namespace: 'spire',
    serviceName: 'spire-server-federation',
    routeName: 'spire-server-federation',
    selector: { app: 'spire-server' },
    targetPort: 8443,
    exposure,
    trustDomain: 'a.test',
  };
}

function live(kind: string, rest: object): KubernetesObject {
  return { apiVersion: 'v1', kind, metadata: { name: 'spire-server-federation' }, ...rest };
}

const admitted = (status: string, more: object = {}) => ({
  status: { ingress: [{ host: 'federation.a.test', conditions: [{ type: 'Admitted', status, ...more }] }] },
});

const CASES: {
  exposure: Exposure;
  kinds: string[];
  service: string;
  pending: KubernetesObject[];
  assigned: KubernetesObject[];
  url: string;
}[] = [
  {
    exposure: { type: 'route' },
    kinds: ['Service', 'Route'],
    service: 'ClusterIP',
    pending: [live('Route', { spec: { host: 'federation.a.test' } })],
    assigned: [live('Route', admitted('True'))],
    url: 'https://federation.a.test',
  },
  {
    exposure: { type: 'ingress', host: 'federation.a.test', ingressClassName: 'nginx' },
    kinds: ['Service', 'Ingress'],
    service: 'ClusterIP',
    pending: [],
    assigned: [live('Ingress', {})],
    url: 'https://federation.a.test',
  },
  {
    exposure: { type: 'loadBalancer' },
    kinds: ['Service'],
    service: 'LoadBalancer',
    pending: [live('Service', { status: { loadBalancer: {} } })],
    assigned: [live('Service', { status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } } })],
    url: 'https://192.0.2.1:8443',
  },
  {
    exposure: { type: 'nodePort', host: 'nodes.a.test' },
    kinds: ['Service'],
    service: 'NodePort',
    pending: [live('Service', { spec: { ports: [{ name: 'federation' }] } })],
    assigned: [live('Service', { spec: { ports: [{ name: 'federation', nodePort: 30443 }] } })],
    url: 'https://nodes.a.test:30443',
  },
];

test.each(CASES)('$exposure.type: what is made, and where it is reached once assigned', (each) => {
  const strategy = exposureStrategy(each.exposure.type);
  const where = context(each.exposure);
  const objects = strategy.objects(where);
  expect(objects.map(({ kind }) => kind)).toEqual(each.kinds);
  for (const { metadata } of objects)
    expect(metadata).toMatchObject({ name: 'spire-server-federation', namespace: 'spire' });
  expect(objects[0]?.['spec']).toMatchObject({
    type: each.service,
    selector: { app: 'spire-server' },
    ports: [{ name: 'federation', port: 8443, targetPort: 8443 }],
  });
  expect(strategy.endpointUrl(where, each.pending)).toBeUndefined();
  expect(strategy.endpointUrl(where, each.assigned)).toBe(each.url);
});

test('a given address is taken as it is, with a Service behind it', () => {
  const where = context({ type: 'address', url: 'https://lb.a.test:8443' });
  const strategy = exposureStrategy('address');
  expect(strategy.objects(where).map(({ kind }) => kind)).toEqual(['Service']);
  expect(strategy.endpointUrl(where, [])).toBe('https://lb.a.test:8443');
});

test('TLS reaches SPIRE untouched through a Route and through an Ingress', () => {
  const [, route] = exposureStrategy('route').objects(context({ type: 'route' }));
  expect(route?.['spec']).toMatchObject({ tls: { termination: 'passthrough' } });
  const [, ingress] = exposureStrategy('ingress').objects(context({ type: 'ingress', host: 'h.test' }));
  expect(ingress?.metadata.annotations).toMatchObject({ 'nginx.ingress.kubernetes.io/ssl-passthrough': 'true' });
});

test('a host is asked for only when one is given', () => {
  const host = (exposure: Exposure) =>
    (exposureStrategy('route').objects(context(exposure))[1]?.['spec'] as { host?: string }).host;
  expect(host({ type: 'route' })).toBeUndefined();
  expect(host({ type: 'route', host: 'mine.test' })).toBe('mine.test');
});

test('a load balancer with an IPv6 address gives a URL with brackets', () => {
  const balancer = live('Service', { status: { loadBalancer: { ingress: [{ ip: '2001:db8::1' }] } } });
  expect(exposureStrategy('loadBalancer').endpointUrl(context({ type: 'loadBalancer' }), [balancer])).toBe(
    'https://[2001:db8::1]:8443',
  );
});

test('what a cloud or a controller must be told is in the manifest', () => {
  const annotations = { 'example.com/internal': 'true' };
  const [balancer] = exposureStrategy('loadBalancer').objects(
    context({ type: 'loadBalancer', loadBalancerClass: 'example.com/nlb', annotations }),
  );
  expect(balancer).toMatchObject({ metadata: { annotations }, spec: { loadBalancerClass: 'example.com/nlb' } });
  const [, ingress] = exposureStrategy('ingress').objects(context({ type: 'ingress', host: 'h.test', annotations }));
  expect(ingress?.metadata.annotations).toEqual(annotations);
});

test('an address that is still the earlier one is not taken for the wanted one', () => {
  const moved = context({ type: 'route', host: 'new.a.test' });
  expect(exposureStrategy('route').endpointUrl(moved, [live('Route', admitted('True'))])).toBeUndefined();
  const ports = { spec: { ports: [{ name: 'federation', nodePort: 30443 }] } };
  const numbered = context({ type: 'nodePort', host: 'nodes.a.test', nodePort: 30444 });
  expect(exposureStrategy('nodePort').endpointUrl(numbered, [live('Service', ports)])).toBeUndefined();
});

const BALANCED = { status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } } };

test.each<{ case: string; exposure: Exposure; objects: KubernetesObject[]; says: string[] }>([
  {
    case: 'nothing is there',
    exposure: { type: 'route' },
    objects: [],
    says: ['Service spire-server-federation is missing', 'Route spire-server-federation is missing'],
  },
  {
    case: 'a router refused the Route',
    exposure: { type: 'route' },
    objects: [
      live('Service', {}),
      live('Route', admitted('False', { reason: 'HostAlreadyClaimed', message: 'taken by another' })),
    ],
    says: ['Route spire-server-federation is not admitted: HostAlreadyClaimed taken by another'],
  },
  {
    case: 'no router looked at the Route',
    exposure: { type: 'route' },
    objects: [live('Service', {}), live('Route', {})],
    says: ['Route spire-server-federation is not admitted: no router has looked at it'],
  },
  {
    case: 'no controller took the Ingress',
    exposure: { type: 'ingress', host: 'federation.a.test', ingressClassName: 'nobody' },
    objects: [live('Service', {}), live('Ingress', { spec: { ingressClassName: 'nobody' } })],
    says: [
      'Ingress spire-server-federation is not admitted: no Ingress controller of class nobody has put its address into the status',
    ],
  },
  {
    case: 'the Ingress is served',
    exposure: { type: 'ingress', host: 'federation.a.test' },
    objects: [live('Service', {}), live('Ingress', BALANCED)],
    says: [],
  },
  {
    case: 'there is no load balancer',
    exposure: { type: 'loadBalancer' },
    objects: [live('Service', { spec: { type: 'LoadBalancer' } })],
    says: ['Service spire-server-federation has no load balancer: no controller has put an address into its status'],
  },
  {
    case: 'there is a load balancer',
    exposure: { type: 'loadBalancer' },
    objects: [live('Service', { spec: { type: 'LoadBalancer' }, ...BALANCED })],
    says: [],
  },
])('why there is no address: $case', ({ exposure, objects, says }) => {
  expect(exposureProblems(context(exposure), objects)).toEqual(says);
});

test('one router that admits a Route is enough, whatever another says', () => {
  const conditions = (status: string) => [{ type: 'Admitted', status }];
  const sharded = live('Route', {
    status: {
      ingress: [
        { host: 'federation.a.test', conditions: conditions('False') },
        { host: 'federation.a.test', conditions: conditions('True') },
      ],
    },
  });
  expect(exposureProblems(context({ type: 'route' }), [live('Service', {}), sharded])).toEqual([]);
});
