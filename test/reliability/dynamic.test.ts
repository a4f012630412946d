import { rotateCa } from '../../sandbox/client.js';
import type { Resource } from '../../sandbox/kubernetes.js';
import type { FederationHealth } from '../../src/contract/health.js';
import { Testbed } from '../support/testbed.js';
import { asAdmin, PATHS, trustDomainOf, untilHealth, watchPair } from '../support/watched.js';

const FEDERATION = 'watched';
const CLUSTERS = ['client-1', 'server-1'];
const MINUTE = 60_000;
const STRANGER = PATHS.relationship('stranger');

const server = trustDomainOf('server-1');

type Relationship = Resource & { spec: Record<string, unknown> };

let testbed: Testbed;

/** Dynamic relationships: what SPIRE controller manager makes of the objects is all that SPIRE server knows. */
beforeAll(async () => {
  testbed = await Testbed.start();
  await testbed.startWorker();
  await watchPair(testbed, FEDERATION, CLUSTERS, 'dynamic');
}, 4 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

const until = (isWanted: (health: FederationHealth) => boolean) =>
  untilHealth(testbed, FEDERATION, isWanted, 4 * MINUTE);
const untilWell = () => until(({ verdict, findings }) => verdict === 'ok' && findings.length === 0);

/** Waits until all is well and one of these was healed since. */
async function untilHealed({ repairs: known }: FederationHealth, ...finds: string[]): Promise<void> {
  await until(
    ({ verdict, repairs }) =>
      verdict === 'ok' &&
      repairs.slice(known.length).some(({ findingId, outcome }) => finds.includes(findingId) && outcome === 'healed'),
  );
}

function own(): Promise<Relationship> {
  return asAdmin(testbed, 'client-1', (api) => api.request<Relationship>(PATHS.relationship(server)));
}

/** Somebody else's relationship for the same trust domain, younger than the engine's. */
async function addStranger(edit: Record<string, unknown>): Promise<Resource> {
  const { apiVersion, kind, spec } = await own();
  const stranger = { apiVersion, kind, metadata: { name: 'stranger' }, spec: { ...spec, ...edit } };
  return asAdmin(testbed, 'client-1', (api) => api.create(stranger as Resource));
}

test(
  'a bundle in a relationship that is none has SPIRE controller manager end it: it is written again',
  async () => {
    const before = await untilWell();
    await asAdmin(testbed, 'client-1', (api) =>
      api.patch(PATHS.relationship(server), { spec: { trustDomainBundle: 'none' } }),
    );
    await untilHealed(before, 'relationship@client-1←server-1');
  },
  6 * MINUTE,
);

test(
  "beside somebody else's younger relationship a bundle is exchanged anew, and that one never comes to count",
  async () => {
    const before = await untilWell();
    const { metadata } = await addStranger({ bundleEndpointURL: 'https://elsewhere.sandbox.test' });
    const { metadata: made } = await own();
    await testbed.addFault({ kind: 'cut', from: 'client-1', to: 'server-1' });
    await rotateCa({ directory: testbed.directory, cluster: 'server-1', revoke: true });
    await testbed.heal();
    await untilHealed(before, 'unknownAuthority@client-1←server-1');
    const mended = await own();
    expect(mended.metadata.uid).toBe(made.uid);
    expect(mended.spec['bundleEndpointURL']).not.toMatch(/#/);
    await asAdmin(testbed, 'client-1', async (api) => {
      const { metadata: left } = await api.request<Resource>(STRANGER);
      expect(left).toMatchObject({ uid: metadata.uid, resourceVersion: metadata.resourceVersion });
      await api.delete(STRANGER);
    });
    await untilWell();
  },
  8 * MINUTE,
);

test(
  'one of another class does not keep the own from being made again, though it is older then',
  async () => {
    const before = await untilWell();
    await addStranger({ className: 'stranger', bundleEndpointURL: 'https://elsewhere.sandbox.test' });
    await asAdmin(testbed, 'client-1', (api) => api.delete(PATHS.relationship(server)));
    await untilHealed(before, 'relationship@client-1←server-1');
    await asAdmin(testbed, 'client-1', (api) => api.delete(STRANGER));
    await untilWell();
  },
  6 * MINUTE,
);
