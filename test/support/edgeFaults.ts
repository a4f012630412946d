import { addFault, heal, rotateCa } from '../../sandbox/client.js';
import type { ClusterApi, Resource } from '../../sandbox/kubernetes.js';
import type { RepairRecord } from '../../src/contract/health.js';
import { BUNDLE_ENDPOINT_PORT, edgeName } from '../../src/contract/names.js';
import { deleteStoredBundle } from './snapshot.js';
import { asAdmin, editFederation, PATHS, trustDomainOf } from './watched.js';

/** The cluster that trusts, and the one whose keys it is to know. */
interface Edge {
  trusting: string;
  trusted: string;
}

/** Where something happens: on an edge in the sandbox of a directory. */
export interface Place extends Edge {
  directory: string;
}

/** What somebody, or something, does to an edge so that it no longer learns the trusted cluster's keys. */
export interface EdgeFault {
  name: string;
  /** The cluster that it is done to. */
  at: 'trusting' | 'trusted';
  make: (place: Place) => Promise<unknown>;
  /** What becomes of the edge without anybody's help, as test/reliability/alone.test.ts sees it: new keys arrive, or never. */
  alone: 'goes on' | 'stays broken';
  /** Whether a SPIRE server restarts by it, and then cannot be asked for a moment. */
  restarts?: boolean;
  /** The finding of the monitor that it comes to. */
  finds: (edge: Edge) => string;
  action: RepairRecord['action'];
}

/**
 * With static relationships, exposed by a Route. SPIRE goes on by either of federates_with and the
 * ClusterFederatedTrustDomain while it has the other: what is lost shows at the next loss.
 */
export const EDGE_FAULTS: readonly EdgeFault[] = [
  {
    name: 'relationship deleted',
    at: 'trusting',
    make: (place) => asAdmin(place, place.trusting, (api) => api.delete(relationshipOf(place))),
    alone: 'goes on',
    finds: onEdge('relationship'),
    action: 'restore',
  },
  {
    name: 'relationship edited',
    at: 'trusting',
    make: (place) => patchRelationship(place, { bundleEndpointURL: 'https://elsewhere.sandbox.test' }),
    alone: 'goes on',
    finds: onEdge('relationship'),
    action: 'restore',
  },
  {
    name: 'class name removed',
    at: 'trusting',
    make: (place) => patchRelationship(place, { className: null }),
    alone: 'goes on',
    finds: onEdge('relationship'),
    action: 'restore',
  },
  {
    name: 'Service deleted',
    at: 'trusted',
    make: (place) => asAdmin(place, place.trusted, (api) => api.delete(PATHS.service)),
    alone: 'stays broken',
    finds: onTrusted('service'),
    action: 'restore',
  },
  {
    name: 'Route deleted',
    at: 'trusted',
    make: (place) => asAdmin(place, place.trusted, (api) => api.delete(PATHS.route)),
    alone: 'stays broken',
    finds: onTrusted('route'),
    action: 'restore',
  },
  {
    // What a container declares is for people: a Service reaches any port by its number.
    name: 'port of the bundle endpoint gone',
    at: 'trusted',
    make: (place) => asAdmin(place, place.trusted, (api) => editEndpointPort(api, () => undefined)),
    alone: 'goes on',
    restarts: true,
    finds: onTrusted('port'),
    action: 'restart',
  },
  {
    name: 'port of the bundle endpoint declared as another',
    at: 'trusted',
    make: (place) =>
      asAdmin(place, place.trusted, (api) => editEndpointPort(api, (port) => ({ ...port, containerPort: 9443 }))),
    alone: 'goes on',
    restarts: true,
    finds: onTrusted('port'),
    action: 'restart',
  },
  {
    name: 'federates_with lost',
    at: 'trusting',
    make: (place) => editFederation(place, place.trusting, ({ federates_with: _peers, ...rest }) => rest),
    alone: 'goes on',
    restarts: true,
    finds: onTrusting('server-conf'),
    action: 'restart',
  },
  {
    name: 'server.conf reverted',
    at: 'trusted',
    make: (place) => editFederation(place, place.trusted, () => undefined),
    alone: 'stays broken',
    restarts: true,
    finds: onTrusted('server-conf'),
    action: 'restart',
  },
  {
    name: 'stored bundle deleted',
    at: 'trusting',
    make: ({ directory, trusting, trusted }) => deleteStoredBundle(directory, trusting, trustDomainOf(trusted)),
    alone: 'stays broken',
    finds: onEdge('neverBootstrapped'),
    action: 'rebootstrap',
  },
  {
    name: 'CA changed while cut off',
    at: 'trusted',
    make: async ({ directory, trusting, trusted }) => {
      await addFault({ directory, fault: { kind: 'cut', from: trusting, to: trusted } });
      await rotateCa({ directory, cluster: trusted, revoke: true });
      await heal({ directory });
    },
    alone: 'stays broken',
    finds: onEdge('unknownAuthority'),
    action: 'rebootstrap',
  },
  {
    name: 'SPIRE server crash-looping on its federation settings',
    at: 'trusting',
    make: (place) =>
      editFederation(place, place.trusting, (federation) => ({ ...federation, bundle_endpoint: { port: 'none' } })),
    alone: 'stays broken',
    restarts: true,
    finds: onTrusting('server-crash-loop'),
    action: 'restoreServerConf',
  },
];

function onEdge(check: string) {
  return ({ trusting, trusted }: Edge) => `${check}@${edgeName(trusting, trusted)}`;
}

function onTrusting(check: string) {
  return ({ trusting }: Edge) => `${check}@${trusting}`;
}

function onTrusted(check: string) {
  return ({ trusted }: Edge) => `${check}@${trusted}`;
}

function relationshipOf({ trusted }: Place): string {
  return PATHS.relationship(trustDomainOf(trusted));
}

function patchRelationship(place: Place, spec: object): Promise<unknown> {
  return asAdmin(place, place.trusting, (api) => api.patch(relationshipOf(place), { spec }));
}

interface Port {
  containerPort: number;
}

interface StatefulSet extends Resource {
  spec: { template: { spec: { containers: { ports?: Port[] }[] } } };
}

/** As it is after somebody deployed the StatefulSet again. */
async function editEndpointPort(api: ClusterApi, edit: (port: Port) => Port | undefined): Promise<void> {
  const set = await api.get<StatefulSet>(PATHS.statefulSet);
  const containers = (set?.spec.template.spec.containers ?? []).map(({ ports = [], ...container }) => ({
    ...container,
    ports: ports.flatMap((port) => (port.containerPort === BUNDLE_ENDPOINT_PORT ? (edit(port) ?? []) : port)),
  }));
  await api.patch(PATHS.statefulSet, { spec: { template: { spec: { containers } } } });
}
