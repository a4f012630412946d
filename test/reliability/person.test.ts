import type { ClusterApi, Resource } from '../../sandbox/kubernetes.js';
import { SERVER_CONF_RECORD } from '../../src/contract/names.js';
import { Testbed } from '../support/testbed.js';
import { asAdmin, editFederation, PATHS, trustDomainOf, untilHealth, watchPair } from '../support/watched.js';

const FEDERATION = 'watched';
const CLUSTERS = ['client-1', 'server-1'];
const MINUTE = 60_000;
/** A restart may take a minute, and a round comes every 3 s. */
const RESTART_ROUNDS = 20;
const NAMESPACE = 'zero-trust-workload-identity-manager';

const client = trustDomainOf('client-1');
const server = trustDomainOf('server-1');

const CRD = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusterfederatedtrustdomains.spire.spiffe.io';
const BINDING = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/spire-federator';
let crd: Resource & { spec: object };
let binding: Resource & { roleRef: object; subjects: object[] };

interface ConfigMap extends Resource {
  metadata: Resource['metadata'] & { annotations?: Record<string, string> };
  data: Record<string, string>;
}

let testbed: Testbed;

interface Fault {
  fault: string;
  make: (api: ClusterApi) => Promise<unknown>;
  /** As a person mends it, who has what was there before. */
  mend: (api: ClusterApi, before: ConfigMap) => Promise<unknown>;
  finds: string;
  /** What the finding says: evidence, and remedy. */
  says: RegExp;
}

/** Faults on server-1. */
const FAULTS: Fault[] = [
  {
    fault: 'trust domain edited in server.conf, without a restart',
    make: async (api) => {
      const { data } = await configMap(api);
      const text = data['server.conf'] ?? '';
      await api.patch(PATHS.configMap, { data: { 'server.conf': text.replaceAll(server, 'other.sandbox.test') } });
    },
    mend: putBack,
    finds: 'cluster@server-1',
    says: new RegExp(`trust domain other\\.sandbox\\.test, but .* is of ${server}.*Put trust_domain ${server} back`),
  },
  {
    fault: 'ConfigMap deleted',
    make: (api) => api.delete(PATHS.configMap),
    mend: putBack,
    finds: 'cluster@server-1',
    says: /there is no ConfigMap spire-server in namespace .*Deploy it again/,
  },
  {
    fault: 'server.conf no JSON any more',
    make: (api) => api.patch(PATHS.configMap, { data: { 'server.conf': 'server { }' } }),
    mend: putBack,
    finds: 'cluster@server-1',
    says: /server\.conf is not JSON/,
  },
  {
    fault: "the engine's annotation broken",
    make: (api) => api.patch(PATHS.configMap, { metadata: { annotations: { [SERVER_CONF_RECORD]: '{"before":' } } }),
    mend: putBack,
    finds: 'cluster@server-1',
    says: new RegExp(`annotation ${SERVER_CONF_RECORD} of ConfigMap spire-server .*annotate configmap spire-server`),
  },
  {
    fault: 'CRD of the relationships deleted',
    make: (api) => api.delete(CRD),
    mend: async (api) => {
      const { apiVersion, kind, metadata, spec } = crd;
      await api.create({ ...{ apiVersion, kind, metadata: { name: metadata.name } }, spec });
    },
    finds: 'cluster@server-1',
    says: /CRD clusterfederatedtrustdomains\.spire\.spiffe\.io is absent\. Install SPIRE controller manager/,
  },
  {
    fault: "the engine's cluster role taken away",
    make: async (api) => {
      await api.delete(BINDING);
      // What is watched goes on to be: it is noticed with the next thing that has to be asked for.
      await api.patch(PATHS.relationship(client), { metadata: { annotations: { stranger: 'true' } } });
    },
    mend: async (api) => {
      const { apiVersion, kind, metadata, roleRef, subjects } = binding;
      await api.create({ ...{ apiVersion, kind, metadata: { name: metadata.name } }, roleRef, subjects });
      await api.patch(PATHS.relationship(client), { metadata: { annotations: { stranger: null } } });
    },
    finds: 'cluster@server-1',
    says: /(clusterfederatedtrustdomains|clusterspiffeids).*deploy\/rbac\.yaml/,
  },
  {
    fault: 'StatefulSet scaled to 0',
    make: (api) => api.patch(PATHS.statefulSet, { spec: { replicas: 0 } }),
    mend: (api) => api.patch(PATHS.statefulSet, { spec: { replicas: 1 } }),
    finds: 'server-down@server-1',
    says: new RegExp(`scaled to 0.*kubectl -n ${NAMESPACE} scale statefulset spire-server --replicas=1`),
  },
];

async function configMap(api: ClusterApi): Promise<ConfigMap> {
  const found = await api.get<ConfigMap>(PATHS.configMap);
  if (found === undefined) throw new Error('there is no ConfigMap of SPIRE server');
  return found;
}

async function putBack(api: ClusterApi, { metadata, data }: ConfigMap): Promise<void> {
  const { name, namespace, labels, annotations } = metadata;
  if ((await api.get(PATHS.configMap)) !== undefined) {
    await api.patch(PATHS.configMap, { metadata: { annotations }, data });
    return;
  }
  const kept = { name, namespace, labels, annotations };
  await api.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: kept, data } as unknown as Resource);
}

const until = (isWanted: Parameters<typeof untilHealth>[2]) => untilHealth(testbed, FEDERATION, isWanted, 4 * MINUTE);
const untilWell = () => until(({ verdict, findings }) => verdict === 'ok' && findings.length === 0);

/** What the engine wrote on the other cluster, as it is now. */
const written = () =>
  asAdmin(testbed, 'client-1', async (api) =>
    Promise.all(
      [PATHS.relationship(server), PATHS.configMap].map(async (path) => {
        const { metadata, spec, data } = await api.request<Resource & { spec?: object; data?: object }>(path);
        return { uid: metadata.uid, spec, data };
      }),
    ),
  );

beforeAll(async () => {
  testbed = await Testbed.start();
  await testbed.startWorker();
  await watchPair(testbed, FEDERATION, CLUSTERS);
  await asAdmin(testbed, 'server-1', async (api) => {
    crd = await api.request(CRD);
    binding = await api.request(BINDING);
  });
}, 4 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

test.each(FAULTS)(
  '$fault: found as $finds for a person, and nothing is changed meanwhile',
  async ({ make, mend, finds, says }) => {
    const { repairs, rounds: seen } = await untilWell();
    const before = await asAdmin(testbed, 'server-1', configMap);
    const peer = await written();
    await asAdmin(testbed, 'server-1', make);
    try {
      const found = await until(({ findings }) => findings.some(({ id }) => id === finds));
      // Before the time that a restart may take is over, however long a round takes on a busy machine.
      expect(found.rounds - seen).toBeLessThan(RESTART_ROUNDS);
      const { evidence = '', remedy = '', state } = found.findings.find(({ id }) => id === finds) ?? {};
      expect(`${evidence} ${remedy}`).toMatch(says);
      expect(state).toBe('person');
      const later = await until(({ rounds }) => rounds >= found.rounds + 4);
      expect(later.findings.map(({ id }) => id)).toEqual([finds]);
      expect(later.repairs).toEqual(repairs);
      expect(await written()).toEqual(peer);
    } finally {
      // What one fault leaves would be found with the next one's.
      await asAdmin(testbed, 'server-1', (api) => mend(api, before));
    }
    await untilWell();
  },
  6 * MINUTE,
);

test(
  'server.conf reverted on both members comes back with the refresh hint of the federation',
  async () => {
    const { repairs } = await untilWell();
    await testbed.federator('monitor', 'pause', '--federation', FEDERATION, '--reason', 'somebody is at it');
    for (const cluster of CLUSTERS) await editFederation(testbed, cluster, () => undefined);
    await testbed.federator('monitor', 'resume', '--federation', FEDERATION);
    const wanted = CLUSTERS.map((cluster) => `server-conf@${cluster}`);
    await until(
      ({ verdict, repairs: all }) =>
        verdict === 'ok' &&
        wanted.every((id) =>
          all.slice(repairs.length).some(({ findingId, outcome }) => findingId === id && outcome === 'healed'),
        ),
    );
    for (const cluster of CLUSTERS) {
      const { data } = await asAdmin(testbed, cluster, configMap);
      const conf = JSON.parse(data['server.conf'] ?? '') as {
        server: { trust_domain: string; federation: { bundle_endpoint: { refresh_hint: string } } };
      };
      expect(conf.server.federation.bundle_endpoint.refresh_hint).toMatch(/^(60s|1m|1m0s)$/);
      expect(conf.server.trust_domain).toBe(trustDomainOf(cluster));
    }
  },
  6 * MINUTE,
);
