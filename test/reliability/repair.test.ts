import { writeFileSync } from 'node:fs';
import type { Resource } from '../../sandbox/kubernetes.js';
import type { RepairRecord } from '../../src/contract/health.js';
import {
  BUNDLE_ENDPOINT_PORT,
  BUNDLE_ENDPOINT_PORT_NAME,
  FEDERATION_LABEL,
  HUB,
  MANAGED_BY_LABEL,
} from '../../src/contract/names.js';
import { EDGE_FAULTS } from '../support/edgeFaults.js';
import { faultSample, sampleName } from '../support/faultSteps.js';
import { Testbed } from '../support/testbed.js';
import { asAdmin, editFederation, PATHS, trustDomainOf, untilHealth, watchPair } from '../support/watched.js';

const FEDERATION = 'watched';
const CLUSTERS = ['client-1', 'server-1'];
const MINUTE = 60_000;
const POLICY = 'all-workloads-auto-federated';
/** Each takes some 10 s; `npm run test:reliability` has the time for all. */
const EDITS_TAKEN = 8;

let testbed: Testbed;

interface Fault {
  fault: string;
  make: () => Promise<unknown>;
  /** Check and scope of what the monitor finds. */
  finds: string;
  action: RepairRecord['action'];
}

const client = trustDomainOf('client-1');
const server = trustDomainOf('server-1');

/** As the engine makes it. */
const SERVICE_PORT = {
  name: BUNDLE_ENDPOINT_PORT_NAME,
  port: BUNDLE_ENDPOINT_PORT,
  protocol: 'TCP',
  targetPort: BUNDLE_ENDPOINT_PORT,
};

/** Of which it is known what SPIRE alone makes. */
const FAULTS_OF_AN_EDGE = EDGE_FAULTS.map((each): Fault => {
  const edge = { trusting: 'client-1', trusted: 'server-1' };
  const make = () => each.make({ directory: testbed.directory, ...edge });
  return { fault: each.name, make, finds: each.finds(edge), action: each.action };
});

/** Edits of objects, which nobody else takes back. */
const EDITS: Fault[] = [
  {
    fault: 'trust domain of a relationship edited',
    make: () =>
      asAdmin(testbed, 'client-1', (api) =>
        api.patch(PATHS.relationship(server), { spec: { trustDomain: 'elsewhere.sandbox.test' } }),
      ),
    finds: 'relationship@client-1←server-1',
    action: 'restore',
  },
  {
    fault: 'bundle in a relationship edited to something that is none',
    make: () =>
      asAdmin(testbed, 'client-1', (api) =>
        api.patch(PATHS.relationship(server), { spec: { trustDomainBundle: 'none' } }),
      ),
    finds: 'relationship@client-1←server-1',
    action: 'restore',
  },
  ...[server, 'stranger.test'].map((value): Fault => ({
    fault: `annotation of a relationship says that ${value} is the hub`,
    make: () =>
      asAdmin(testbed, 'client-1', (api) =>
        api.patch(PATHS.relationship(server), { metadata: { annotations: { [HUB]: value } } }),
      ),
    finds: 'relationship@client-1←server-1',
    action: 'restore',
  })),
  {
    fault: 'selector of the Service narrowed',
    make: () => editService({ selector: { stranger: 'true' } }),
    finds: 'service@server-1',
    action: 'restore',
  },
  {
    fault: 'port of the Service edited',
    make: () => editService({ ports: [{ ...SERVICE_PORT, port: 9443 }] }),
    finds: 'service@server-1',
    action: 'restore',
  },
  {
    fault: 'port added to the Service',
    make: () => editService({ ports: [SERVICE_PORT, { ...SERVICE_PORT, name: 'stranger', port: 9443 }] }),
    finds: 'service@server-1',
    action: 'restore',
  },
  {
    fault: 'Service given a node port',
    make: () => editService({ type: 'NodePort' }),
    finds: 'service@server-1',
    action: 'restore',
  },
  {
    fault: 'Service given other addresses, and made to remember its clients',
    make: () =>
      editService({
        externalIPs: ['192.0.2.9'],
        internalTrafficPolicy: 'Local',
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 10 } },
      }),
    finds: 'service@server-1',
    action: 'restore',
  },
  {
    fault: 'Route given another backend besides',
    make: () =>
      asAdmin(testbed, 'server-1', (api) =>
        api.patch(PATHS.route, { spec: { alternateBackends: [{ kind: 'Service', name: 'stranger', weight: 100 }] } }),
      ),
    finds: 'route@server-1',
    action: 'restore',
  },
  ...['port', 'address'].map((key): Fault => ({
    fault: `${key} of bundle_endpoint edited`,
    make: () =>
      editFederation(testbed, 'server-1', ({ bundle_endpoint: endpoint, ...rest }) => ({
        ...rest,
        bundle_endpoint: { ...(endpoint as object), [key]: key === 'port' ? 9443 : '127.0.0.1' },
      })),
    finds: 'server-conf@server-1',
    action: 'restart',
  })),
  {
    fault: 'https_web in bundle_endpoint, before all other keys',
    make: () =>
      editFederation(testbed, 'server-1', ({ bundle_endpoint: endpoint, ...rest }) => ({
        bundle_endpoint: {
          profile: [{ https_web: [{ acme: [{ domain_name: 'a.test', email: 'a@a.test', tos_accepted: true }] }] }],
          ...(endpoint as object),
        },
        ...rest,
      })),
    finds: 'server-conf@server-1',
    action: 'restart',
  },
  {
    fault: 'refresh_hint of one member edited',
    make: () =>
      editFederation(testbed, 'client-1', ({ bundle_endpoint: endpoint, ...rest }) => ({
        ...rest,
        bundle_endpoint: { ...(endpoint as object), refresh_hint: '3600s' },
      })),
    finds: 'server-conf@client-1',
    action: 'restart',
  },
  {
    fault: 'own trust domain in a ClusterSPIFFEID of the engine',
    make: () =>
      asAdmin(testbed, 'client-1', (api) =>
        api.patch(PATHS.identity(POLICY), { spec: { federatesWith: [client, server] } }),
      ),
    finds: 'policy@client-1',
    action: 'restore',
  },
  {
    fault: 'ClusterSPIFFEID of the engine narrowed',
    make: () =>
      asAdmin(testbed, 'client-1', (api) =>
        api.patch(PATHS.identity(POLICY), {
          spec: { podSelector: { matchLabels: { stranger: 'true' } }, fallback: true },
        }),
      ),
    finds: 'policy@client-1',
    action: 'restore',
  },
  ...(['relationship', 'service', 'route', 'policy'] as const).map((check): Fault => {
    const [cluster, path] = {
      relationship: ['client-1', PATHS.relationship(server)],
      service: ['server-1', PATHS.service],
      route: ['server-1', PATHS.route],
      policy: ['client-1', PATHS.identity(POLICY)],
    }[check] as [string, string];
    const labels = { [MANAGED_BY_LABEL]: null, [FEDERATION_LABEL]: null };
    return {
      fault: `labels taken off: ${check}`,
      make: () => asAdmin(testbed, cluster, (api) => api.patch(path, { metadata: { labels } })),
      finds: `${check}@${check === 'relationship' ? 'client-1←server-1' : cluster}`,
      action: 'restore',
    };
  }),
  ...[{ federatesWith: null }, { className: null }].map((spec): Fault => ({
    fault: `ClusterSPIFFEID of the engine without ${Object.keys(spec).join()}`,
    make: () => asAdmin(testbed, 'client-1', (api) => api.patch(PATHS.identity(POLICY), { spec })),
    finds: 'policy@client-1',
    action: 'restore',
  })),
  {
    fault: 'ClusterSPIFFEID of the engine deleted on all members',
    make: () =>
      Promise.all(CLUSTERS.map((cluster) => asAdmin(testbed, cluster, (api) => api.delete(PATHS.identity(POLICY))))),
    finds: 'policy@client-1',
    action: 'restore',
  },
];

beforeAll(async () => {
  testbed = await Testbed.start();
  await testbed.startWorker();
  await watchPair(testbed, FEDERATION, CLUSTERS);
}, 4 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

test(
  'a setup starts a monitor, which finds every edge fresh',
  async () => {
    const health = await untilHealth(testbed, FEDERATION, ({ verdict }) => verdict === 'ok');
    expect(
      health.clusters.map(({ cluster, server: each, endpoint, agents }) => ({ cluster, each, endpoint, agents })),
    ).toEqual(CLUSTERS.map((cluster) => ({ cluster, each: 'up', endpoint: 'ok', agents: 1 })));
    expect(health.edges.map(({ verdict }) => verdict)).toEqual(['fresh', 'fresh']);
  },
  2 * MINUTE,
);

test.each(FAULTS_OF_AN_EDGE)('$fault: found as $finds, healed by $action', heals, 6 * MINUTE);

describe(`edits of objects: ${sampleName(EDITS_TAKEN)}`, () => {
  test.each(faultSample(EDITS, EDITS_TAKEN))('$fault: found as $finds, healed by $action', heals, 6 * MINUTE);
});

async function heals({ make, finds, action }: Fault): Promise<void> {
  if (finds.startsWith('policy@')) await applyPolicy();
  const before = await untilHealth(testbed, FEDERATION, ({ verdict }) => verdict === 'ok');
  const known = before.repairs.length;
  await make();
  const healed = await untilHealth(
    testbed,
    FEDERATION,
    ({ verdict, repairs }) => verdict === 'ok' && repairs.slice(known).some(({ findingId }) => findingId === finds),
    4 * MINUTE,
  );
  const record = healed.repairs.slice(known).find(({ findingId }) => findingId === finds);
  expect(record).toMatchObject({ action, outcome: 'healed' });
  const verified = await testbed.federator('verify', '--federation', FEDERATION, '--json');
  expect({ code: verified.code, stdout: verified.code === 0 ? '' : verified.stdout }).toEqual({
    code: 0,
    stdout: '',
  });
}

test(
  "while somebody else's Route waits for a person, everything else on that member is healed",
  async () => {
    const before = await untilHealth(testbed, FEDERATION, ({ verdict }) => verdict === 'ok');
    const route = await asAdmin(testbed, 'server-1', async (api) => {
      const { apiVersion, kind, metadata } = await api.request<Resource>(PATHS.route);
      await api.delete(PATHS.route);
      const { name, namespace } = metadata;
      await api.create({
        ...{ apiVersion, kind, metadata: { name, namespace } },
        spec: { to: { kind: 'Service', name: 'stranger' } },
      } as unknown as Resource);
      await api.delete(PATHS.relationship(client));
      return api.request<Resource>(PATHS.route);
    });
    const healed = 'relationship@server-1←client-1';
    const { findings } = await untilHealth(
      testbed,
      FEDERATION,
      ({ findings: left, repairs }) =>
        left.some(({ id }) => id === 'route@server-1') &&
        repairs
          .slice(before.repairs.length)
          .some(({ findingId, outcome }) => findingId === healed && outcome === 'healed'),
    );
    expect(findings.find(({ id }) => id === 'route@server-1')).toMatchObject({ state: 'person' });
    await asAdmin(testbed, 'server-1', async (api) => {
      expect(await api.request<Resource>(PATHS.route)).toMatchObject({ metadata: { uid: route.metadata.uid } });
      await api.delete(PATHS.route);
    });
    await untilHealth(testbed, FEDERATION, ({ verdict }) => verdict === 'ok');
  },
  6 * MINUTE,
);

function editService(spec: object): Promise<unknown> {
  return asAdmin(testbed, 'server-1', (api) => api.patch(PATHS.service, { spec }));
}

async function applyPolicy(): Promise<void> {
  const file = `${testbed.directory}/federation.yaml`;
  writeFileSync(
    file,
    `federation: ${FEDERATION}\nclusters: [${CLUSTERS.join(', ')}]\nrefreshHintSeconds: 60\npolicies: [{ type: universal }]\n`,
  );
  const { code, stderr } = await testbed.federator('apply', '-f', file, '--no-probe');
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
}
