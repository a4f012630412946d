import { setTimeout as delay } from 'node:timers/promises';
import { addFault, heal, rotateCa } from '../sandbox/client.js';
import { edgeName } from '../src/contract/names.js';
import { EDGE_FAULTS, type Place } from '../test/support/edgeFaults.js';
import { asAdmin, PATHS } from '../test/support/watched.js';

/** Shorter than SPIRE's polling interval at the shortest refresh hint, so that one poll fails at most. */
const SHORT_CUT_MS = 5_000;
/** Longer than two rounds, after which a cluster counts as out of reach. */
const API_AWAY_MS = 40_000;

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

/** What breaks a federation, and what only looks as if. */
export const EVENTS: readonly SoakEvent[] = [
  ...EDGE_FAULTS,
  {
    name: 'peer hangs',
    make: ({ directory, trusting, trusted }) =>
      addFault({ directory, fault: { kind: 'hang', from: trusting, to: trusted } }),
    finds: ({ trusting, trusted }) => `endpointUnreachable@${edgeName(trusting, trusted)}`,
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
    make: (place) => asAdmin(place, place.trusted, (api) => api.delete(PATHS.pod)),
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
