import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { Authority, type Certified } from '../../sandbox/authority.js';
import { eventually, type Resource } from '../../sandbox/kubernetes.js';
import { WEB_CERTIFICATE, WEB_ROOTS, webAuthority } from '../../sandbox/webPki.js';
import { Diagnosing, expectExplained } from '../support/diagnosing.js';
import { Testbed } from '../support/testbed.js';
import { asAdmin, PATHS, trustDomainOf } from '../support/watched.js';

const FEDERATION = 'diagnosed-web';
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NAMESPACE = 'zero-trust-workload-identity-manager';
const SECRET = `/api/v1/namespaces/${NAMESPACE}/secrets/${WEB_CERTIFICATE}`;
const ROOTS = `/api/v1/namespaces/${NAMESPACE}/configmaps/${WEB_ROOTS}`;
const WEB_PKI = 'web-pki';

interface Fault {
  fault: string;
  /** @returns how it is put right */
  make: () => Promise<() => Promise<void>>;
  finds: string;
  /** What is said about it, and about what follows from it. */
  says: RegExp;
  also?: string[];
}

type WithData = Resource & { data: Record<string, string> };

let testbed: Testbed;
let diagnosing: Diagnosing;

/** Puts other files into the volumes of a SPIRE server, and restarts it: it reads them when it starts. */
async function replaceFiles(
  cluster: string,
  object: string,
  data: Record<string, string>,
): Promise<() => Promise<void>> {
  const before = await asAdmin(testbed, cluster, (api) => api.request<WithData>(object));
  const put = (files: Record<string, string>) =>
    asAdmin(testbed, cluster, async (api) => {
      const old = (await api.get(PATHS.pod))?.metadata.uid;
      await api.patch(object, { data: files });
      await api.delete(PATHS.pod);
      await eventually(`SPIRE server of ${cluster} runs with them`, async () => {
        const pod = await api.get(PATHS.pod);
        const { conditions = [] } = (pod?.['status'] ?? {}) as { conditions?: { type: string; status: string }[] };
        expect(pod?.metadata.uid).not.toBe(old);
        expect(conditions).toContainEqual(expect.objectContaining({ type: 'Ready', status: 'True' }));
      });
    });
  await put(data);
  return () => put(before.data);
}

/** Has server-1 serve its bundle under another certificate. */
async function serve(authority: Authority, certified: Partial<Certified> = {}): Promise<() => Promise<void>> {
  const host = `*.${trustDomainOf('server-1')}`;
  const { key, certificate } = await authority.issue({ subject: `CN=${host}`, names: [host], ...certified });
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return replaceFiles('server-1', SECRET, { 'tls.crt': base64(certificate), 'tls.key': base64(key) });
}

const known = () => webAuthority(path.join(testbed.directory, WEB_PKI));
const unknown = () => Authority.create('somebody else');

const FAULTS: Fault[] = [
  {
    fault: 'authorities of the trusting side without the one that matters',
    make: async () => {
      const { certificate } = await (await unknown()).pem();
      return replaceFiles('client-1', ROOTS, { 'ca.crt': certificate });
    },
    finds: 'webCertificate@client-1←server-1',
    says: /unknown authority/,
  },
  {
    fault: 'a certificate of an authority that nobody knows',
    make: async () => serve(await unknown()),
    finds: 'webCertificate@client-1←server-1',
    says: /unknown authority/,
    also: ['endpoint of server-1'],
  },
  {
    fault: 'a certificate that has expired',
    make: async () => serve(await known(), { notAfter: new Date(Date.now() - HOUR) }),
    finds: 'certificateTime@client-1←server-1',
    says: /current time \S+ is after/,
    also: ['endpoint of server-1'],
  },
  {
    fault: 'a certificate that is not valid yet',
    make: async () => serve(await known(), { notBefore: new Date(Date.now() + HOUR) }),
    finds: 'certificateTime@client-1←server-1',
    says: /current time \S+ is before/,
    also: ['endpoint of server-1'],
  },
];

beforeAll(async () => {
  testbed = await Testbed.start();
  diagnosing = new Diagnosing(testbed, FEDERATION, ['client-1', 'server-1']);
  const inventory = path.join(testbed.directory, 'inventory.yaml');
  const { clusters, ...rest } = parse(readFileSync(inventory, 'utf8')) as { clusters: { name: string }[] };
  const bundleEndpoint = {
    profile: 'https_web',
    servingCertFile: {
      certFilePath: '/run/spire/web-certificate/tls.crt',
      keyFilePath: '/run/spire/web-certificate/tls.key',
    },
    webPkiCA: `${WEB_PKI}/ca.crt`,
  };
  const described = clusters.map((each) => (each.name === 'server-1' ? { ...each, bundleEndpoint } : each));
  writeFileSync(inventory, stringify({ ...rest, clusters: described }));
  await testbed.startWorker();
  const args = ['start-workflow', 'setupPair', '--federation', FEDERATION, '--no-probe', '--refresh-hint', '60'];
  const { code, stderr } = await testbed.federator(...args);
  if (code !== 0) throw new Error(stderr);
}, 4 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

test.each(FAULTS)(
  '$fault: $finds and nothing else',
  async ({ make, finds, says, also = [] }) => {
    await diagnosing.untilWell();
    const restore = await make();
    try {
      const found = await diagnosing.untilNamed(finds);
      expectExplained(found);
      expect(found.wrong[0]?.evidence).toMatch(says);
      expect(found.wrong[0]?.also ?? []).toEqual(also);
      expect(found.proposals).toEqual([]);
    } finally {
      await restore();
    }
  },
  3 * MINUTE,
);
