import { setTimeout as delay } from 'node:timers/promises';
import { addFault, heal, rotateCa } from '../sandbox/client.js';
import { edgeName } from '../src/contract/names.js';
import { deleteStoredBundle } from '../test/support/snapshot.js';
import { asAdmin, editFederation, PATHS, trustDomainOf } from '../test/support/watched.js';

/** Shorter than SPIRE's polling interval at the shortest refresh hint, so that one poll fails at most. */
const SHORT_CUT_MS = 5_000;
/** Longer than two rounds, after which a cluster counts as out of reach. */
const API_AWAY_MS = 40_000;

/** Where something happens: on an edge, by its two clusters. */
export interface Place {
  directory: string;
  trusting: string;
  trusted: string;
}

/** Something that happens to a federation. */
export interface SoakEvent {
  name: string;
  make: (place: Place) => Promise<unknown>;
  /** Whether a SPIRE server restarts by it, and then cannot be asked for a moment. */
  restarts?: boolean;
  /** The finding that it must come to; absent: nothing may be found. */
  finds?: (place: Place) => string;
  /** Ends what the engine cannot end itself, once it is found. */
  end?: (place: Place) => Promise<unknown>;
}

const onEdge =
  (check: string) =>
  ({ trusting, trusted }: Place) =>
    `${check}@${edgeName(trusting, trusted)}`;
const onTrusted =
  (check: string) =>
  ({ trusted }: Place) =>
    `${check}@${trusted}`;
const onTrusting =
  (check: string) =>
  ({ trusting }: Place) =>
    `${check}@${trusting}`;

const removed =
  (pathOf: (place: Place) => string, clusterOf: (place: Place) => string) =>
  (place: Place): Promise<unknown> =>
    asAdmin(place, clusterOf(place), (api) => api.delete(pathOf(place)));
const relationshipSpec =
  (spec: object) =>
  (place: Place): Promise<unknown> =>
    asAdmin(place, place.trusting, (api) => api.patch(relationshipOf(place), { spec }));

const relationshipOf = ({ trusted }: Place) => PATHS.relationship(trustDomainOf(trusted));

/** What breaks a federation, and what only looks as if. SPIRE alone heals none of the former. */
export const EVENTS: readonly SoakEvent[] = [
  {
    name: 'relationship deleted',
    make: removed(relationshipOf, ({ trusting }) => trusting),
    finds: onEdge('relationship'),
  },
  {
    name: 'relationship edited',
    make: relationshipSpec({ bundleEndpointURL: 'https://elsewhere.sandbox.test' }),
    finds: onEdge('relationship'),
  },
  { name: 'class name removed', make: relationshipSpec({ className: null }), finds: onEdge('relationship') },
  {
    name: 'Service deleted',
    make: removed(
      () => PATHS.service,
      ({ trusted }) => trusted,
    ),
    finds: onTrusted('service'),
  },
  {
    name: 'Route deleted',
    make: removed(
      () => PATHS.route,
      ({ trusted }) => trusted,
    ),
    finds: onTrusted('route'),
  },
  {
    name: 'federates_with lost',
    make: (place) => editFederation(place, place.trusting, ({ federates_with: _peers, ...rest }) => rest),
    restarts: true,
    finds: onTrusting('server-conf'),
  },
  {
    name: 'server.conf reverted',
    make: (place) => editFederation(place, place.trusted, () => undefined),
    restarts: true,
    finds: onTrusted('server-conf'),
  },
  {
    name: 'stored bundle deleted',
    make: ({ directory, trusting, trusted }) => deleteStoredBundle(directory, trusting, trustDomainOf(trusted)),
    finds: onEdge('neverBootstrapped'),
  },
  {
    name: 'CA changed while cut off',
    make: async ({ directory, trusting, trusted }) => {
      await addFault({ directory, fault: { kind: 'cut', from: trusting, to: trusted } });
      await rotateCa({ directory, cluster: trusted, revoke: true });
      await heal({ directory });
    },
    finds: onEdge('unknownAuthority'),
  },
  {
    name: 'peer hangs',
    make: ({ directory, trusting, trusted }) =>
      addFault({ directory, fault: { kind: 'hang', from: trusting, to: trusted } }),
    finds: onEdge('endpointUnreachable'),
    end: ({ directory }) => heal({ directory }),
  },
  {
    name: 'API server away',
    make: async ({ directory, trusted }) => {
      await addFault({ directory, fault: { kind: 'api-down', cluster: trusted } });
      await delay(API_AWAY_MS);
      await heal({ directory });
    },
  },
  {
    name: 'clean CA rotation',
    make: ({ directory, trusted }) => rotateCa({ directory, cluster: trusted, revoke: false }),
  },
  {
    name: 'SPIRE server restarted',
    make: removed(
      () => PATHS.pod,
      ({ trusted }) => trusted,
    ),
  },
  {
    name: 'link cut for a moment',
    make: async ({ directory, trusting, trusted }) => {
      await addFault({ directory, fault: { kind: 'cut', from: trusting, to: trusted } });
      await delay(SHORT_CUT_MS);
      await heal({ directory });
    },
  },
];
