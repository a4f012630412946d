import { spireServer } from '../support/snapshot.js';
import { EDGE_FAULTS } from '../support/edgeFaults.js';
import { Testbed } from '../support/testbed.js';
import { trustDomainOf } from '../support/watched.js';
import { clusterName } from '../../sandbox/layout.js';
import { eventually } from '../../sandbox/kubernetes.js';

const MINUTE = 60_000;
const HUB = clusterName(0);
/** So often every server that can makes another key, which whoever polls it comes to know. */
const KEYS = 3;

/** Faults on the edges from and to each spoke of a hub: no two of them come upon the same edge. */
const SPOKES: { fromSpoke?: string; fromHub?: string }[] = [
  { fromSpoke: 'relationship deleted', fromHub: 'Service deleted' },
  { fromSpoke: 'class name removed', fromHub: 'Route deleted' },
  { fromSpoke: 'stored bundle deleted', fromHub: 'CA changed while cut off' },
  { fromSpoke: 'relationship edited', fromHub: 'port of the bundle endpoint gone' },
  { fromSpoke: 'federates_with lost', fromHub: 'port of the bundle endpoint declared as another' },
  { fromSpoke: 'SPIRE server crash-looping on its federation settings' },
  { fromHub: 'server.conf reverted' },
  {},
];

/** A fault, and the edge on which it is made. */
interface Made {
  fault: string;
  trusting: string;
  trusted: string;
}

const MADE = SPOKES.flatMap(({ fromSpoke, fromHub }, index): Made[] => {
  const spoke = clusterName(index + 1);
  return [
    ...(fromSpoke === undefined ? [] : [{ fault: fromSpoke, trusting: spoke, trusted: HUB }]),
    ...(fromHub === undefined ? [] : [{ fault: fromHub, trusting: HUB, trusted: spoke }]),
  ];
});
const UNTOUCHED = clusterName(SPOKES.length);

let testbed: Testbed;

beforeAll(async () => {
  testbed = await Testbed.start({ clusters: SPOKES.length + 1 });
}, 6 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

test('every fault of an edge is among those made', () => {
  expect(MADE.map(({ fault }) => fault).sort()).toEqual(EDGE_FAULTS.map(({ name }) => name).sort());
});

test(
  'what becomes of an edge by SPIRE alone, while those beside it come to know new keys',
  async () => {
    const worker = await testbed.startWorker();
    const setup = ['start-workflow', 'setupMesh', '--federation', 'alone', '--hub', HUB, '--refresh-hint', '60'];
    const { code, stderr } = await testbed.federator(...setup, '--max-unavailable', '8', '--no-probe');
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    await testbed.stopWorker(worker);

    // What asks SPIRE server comes before what restarts it.
    const make = async ({ fault, ...edge }: Made) => {
      const { make: act } = EDGE_FAULTS.find(({ name }) => name === fault) ?? {};
      await act?.({ directory: testbed.directory, ...edge });
    };
    const restarts = (fault: string) => EDGE_FAULTS.some((each) => each.name === fault && each.restarts === true);
    for (const each of MADE.filter(({ fault }) => !restarts(fault))) await make(each);
    for (const each of MADE.filter(({ fault }) => restarts(fault))) await make(each);

    const crashed = MADE.find(({ fault }) => fault.includes('crash-looping'))?.trusting;
    const answering = [HUB, ...SPOKES.map((_each, index) => clusterName(index + 1))].filter((each) => each !== crashed);
    const untouched = [
      { trusting: HUB, trusted: UNTOUCHED },
      { trusting: UNTOUCHED, trusted: HUB },
    ];
    for (let key = 0; key < KEYS; key++) {
      await Promise.all(
        answering.map((cluster) => eventually(`${cluster} makes a key`, () => makeKey(cluster), 2 * MINUTE, 1_000)),
      );
      for (const edge of untouched)
        await eventually(
          `${edge.trusting} knows the keys of ${edge.trusted}`,
          async () => expect(await knowsKeys(edge)).toBe(true),
          3 * MINUTE,
          1_000,
        );
    }
    // One that does not run answers nothing, not even after so many polls of the others.
    if (crashed !== undefined) await expect(makeKey(crashed)).rejects.toThrow();
    const alone = MADE.map(async (edge) => {
      const learns = edge.trusting !== crashed && (await knowsKeys(edge));
      return [edge.fault, learns ? 'goes on' : 'stays broken'];
    });
    expect(Object.fromEntries(await Promise.all(alone))).toEqual(
      Object.fromEntries(EDGE_FAULTS.map((each) => [each.name, each.alone])),
    );
  },
  12 * MINUTE,
);

async function makeKey(cluster: string): Promise<void> {
  await spireServer(testbed.directory, cluster, 'localauthority', 'x509', 'prepare', '-output', 'json');
}

/** Whether a cluster has stored the X.509 authorities that the other has now. */
async function knowsKeys({ trusting, trusted }: Pick<Made, 'trusting' | 'trusted'>): Promise<boolean> {
  const ask = async (cluster: string, command: 'show' | 'list') =>
    JSON.parse(await spireServer(testbed.directory, cluster, 'bundle', command, '-output', 'json')) as unknown;
  const own = (await ask(trusted, 'show')) as Bundle;
  const { bundles } = (await ask(trusting, 'list')) as { bundles: Bundle[] };
  const stored = bundles.find((each) => each.trust_domain === trustDomainOf(trusted));
  return JSON.stringify(authorities(stored)) === JSON.stringify(authorities(own));
}

interface Bundle {
  trust_domain: string;
  x509_authorities: { asn1: string }[];
}

function authorities(bundle: Bundle | undefined): string[] | undefined {
  return bundle?.x509_authorities.map(({ asn1 }) => asn1).sort();
}
