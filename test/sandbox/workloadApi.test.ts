import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { startRouteProxy, type LinkFault } from '../../sandbox/routeProxy.js';
import { spireServices } from '../../sandbox/spireProtos.js';
import { toolPath } from '../../sandbox/tools/toolPath.js';
import { serveWorkloadApi, type ServedWorkloadApi } from '../../sandbox/workloadApi.js';
import { eventually, freePort, SpireTrustDomain } from '../support/spireTrustDomain.js';

interface Pod {
  trustDomain: SpireTrustDomain;
  uid: string;
  directory: string;
}

describe('Workload API of a pod, answered by a real SPIRE agent', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'wl-'));
  const a = new SpireTrustDomain('a.test', path.join(folder, 'a'));
  const b = new SpireTrustDomain('b.test', path.join(folder, 'b'));
  const served: ServedWorkloadApi[] = [];
  const log: string[] = [];
  const probes: ChildProcess[] = [];
  const addresses: Record<string, string> = {};

  beforeAll(async () => {
    await Promise.all([a.start(), b.start()]);
    await Promise.all([a.trust(b), b.trust(a)]);
    for (const [own, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      await own.createEntry({
        path: '/federated',
        selector: 'k8s:pod-uid:federated',
        federatesWith: [peer.id('')],
      });
      await own.createEntry({ path: '/unfederated', selector: 'k8s:pod-uid:unfederated' });
    }
    for (const uid of ['federated', 'unfederated']) {
      await Promise.all([a, b].map((trustDomain) => serveFor({ trustDomain, uid })));
      addresses[`a/${uid}`] = await startServer(pod(a, uid));
      addresses[`b/${uid}`] = await startServer(pod(b, uid));
    }
  });

  afterAll(async () => {
    for (const probe of probes) probe.kill('SIGKILL');
    await Promise.all(served.map((each) => each.close()));
    await Promise.all([a.stop(), b.stop()]);
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([
    ['a', 'b'],
    ['b', 'a'],
  ])('lets federated workloads of %s and %s authenticate each other', async (from, to) => {
    const [client, server] = from === 'a' ? [a, b] : [b, a];
    const answer = await dial(pod(client, 'federated'), `${to}/federated`, server.id('/federated'));
    expect(answer).toEqual({
      ok: true,
      self: client.id('/federated'),
      server: server.id('/federated'),
      clientSeenByServer: client.id('/federated'),
      handshakeMs: expect.any(Number) as number,
    });
  });

  it('gives a workload that is not federated no bundle of the other trust domain', async () => {
    expect(await dial(pod(a, 'unfederated'), 'b/federated', b.id('/federated'))).toMatchObject({
      ok: false,
      reason: 'no-bundle',
    });
    expect(await dial(pod(a, 'federated'), 'b/unfederated', b.id('/unfederated'))).toMatchObject({
      ok: false,
      reason: 'refused-by-peer',
    });
    expect(await bundlesOf(pod(a, 'unfederated'))).toEqual(['a.test']);
    expect(await bundlesOf(pod(a, 'federated'))).toEqual(['a.test', 'b.test']);
  });

  it('shows the probe the state of the network between the clusters', async () => {
    let fault: LinkFault = { kind: 'none' };
    const targets = new Map(
      Object.entries(addresses).map(([name, address]) => [`${name.replace('/', '-')}.test`, address]),
    );
    const proxy = await startRouteProxy({
      port: 0,
      source: 'a',
      resolve: async (host) => {
        const [address, port] = targets.get(host)?.split(':') ?? [];
        return address === undefined ? undefined : { cluster: 'b', address, port: Number(port) };
      },
      link: () => fault,
    });
    const through = (host: string, id: string): Promise<unknown> => {
      const args = ['dial', '--address', `${host}:443`, '--expect', id, '--timeout', '1500ms'];
      return probe(pod(a, 'federated').directory, args, { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` });
    };
    const federated = (): Promise<unknown> => through('b-federated.test', b.id('/federated'));
    try {
      expect(await federated()).toMatchObject({ ok: true });
      expect(await through('nobody.test', b.id('/federated'))).toMatchObject({
        reason: 'unreachable',
        error: expect.stringContaining('nothing that is ready is exposed at nobody.test') as string,
      });
      fault = { kind: 'cut' };
      expect(await federated()).toMatchObject({
        reason: 'unreachable',
        error: expect.stringContaining('the link from a to b is cut') as string,
      });
      fault = { kind: 'hang' };
      expect(await federated()).toMatchObject({ reason: 'timeout' });
      fault = { kind: 'delay', delayMs: 100 };
      const { ok, handshakeMs } = (await federated()) as { ok: boolean; handshakeMs: number };
      expect({ ok, slow: handshakeMs >= 200 }).toEqual({ ok: true, slow: true });
      expect(await through('b-unfederated.test', b.id('/unfederated'))).toMatchObject({ reason: 'refused-by-peer' });
    } finally {
      await proxy.close();
    }
  });

  it('keeps the files of spiffe-helper beside the socket', () => {
    const { directory } = pod(a, 'federated');
    const leaf = new X509Certificate(readFileSync(path.join(directory, 'svid.pem')));
    const key = createPrivateKey(readFileSync(path.join(directory, 'svid-key.pem')));
    expect(leaf.subjectAltName).toBe(`URI:${a.id('/federated')}`);
    expect(leaf.checkPrivateKey(key)).toBe(true);
    expect(statSync(path.join(directory, 'svid-key.pem')).mode & 0o777).toBe(0o600);
    expect(authorities(directory).some((authority) => leaf.verify(authority.publicKey))).toBe(true);
    expect(authorities(directory).map(({ subjectAltName }) => subjectAltName)).toEqual([
      'URI:spiffe://a.test',
      'URI:spiffe://b.test',
    ]);
    expect(readdirSync(directory).sort()).toEqual(['bundle.pem', 'spire-agent.sock', 'svid-key.pem', 'svid.pem']);
  });

  it('refuses calls without the security header', async () => {
    const error = await call(pod(a, 'federated'), 'FetchX509SVID', {}, new Metadata()).catch(
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, details: 'security header missing from request' });
  });

  it('serves JWT-SVIDs and the JWKS of the same trust domains', async () => {
    const { svids } = await call<{ svids: { spiffeId: string; svid: string }[] }>(pod(a, 'federated'), 'FetchJWTSVID', {
      audience: ['someone'],
    });
    expect(svids.map(({ spiffeId }) => spiffeId)).toEqual([a.id('/federated')]);
    const claims = JSON.parse(Buffer.from(svids[0]?.svid.split('.')[1] ?? '', 'base64url').toString()) as object;
    expect(claims).toMatchObject({ sub: a.id('/federated'), aud: ['someone'] });
    for (const [uid, trustDomains] of [
      ['federated', ['spiffe://a.test', 'spiffe://b.test']],
      ['unfederated', ['spiffe://a.test']],
    ] as const) {
      const { bundles } = await call<{ bundles: Record<string, Buffer> }>(pod(a, uid), 'FetchJWTBundles', {});
      expect(Object.keys(bundles).sort()).toEqual(trustDomains);
    }
    await expect(call(pod(a, 'federated'), 'FetchJWTSVID', { audience: [] })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(call(pod(a, 'federated'), 'ValidateJWTSVID', {})).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
    });
  });

  it('gives the identity when its entry comes, and takes it away when the entry goes', async () => {
    const late = await serveFor({ trustDomain: a, uid: 'late' });
    expect(await show(late)).toMatchObject({ ok: false, reason: 'no-identity' });
    await expect(call(late, 'FetchX509SVID', {})).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
      details: 'no identity issued',
    });
    const entry = await a.createEntry({ path: '/late', selector: 'k8s:pod-uid:late' });
    await eventually(async () => expect(await show(late)).toMatchObject({ ok: true, spiffeId: a.id('/late') }));
    expect(existsSync(path.join(late.directory, 'svid.pem'))).toBe(true);
    await a.server('entry', 'delete', '-entryID', entry);
    await eventually(async () => expect(await show(late)).toMatchObject({ ok: false, reason: 'no-identity' }));
    expect(readdirSync(late.directory)).toEqual(['spire-agent.sock']);
  });

  it('passes on a new authority of a federated trust domain', async () => {
    const { directory } = pod(a, 'federated');
    await b.server('localauthority', 'x509', 'prepare');
    await a.trust(b);
    await eventually(() => expect(authorities(directory)).toHaveLength(3));
    expect(authorities(pod(a, 'unfederated').directory)).toHaveLength(1);
  });

  it('is silent while the agent is away and goes on when it is back', async () => {
    await a.stopAgent();
    await eventually(() =>
      expect(call(pod(a, 'federated'), 'FetchX509SVID', {})).rejects.toMatchObject({ code: status.UNAVAILABLE }),
    );
    expect(existsSync(path.join(pod(a, 'federated').directory, 'svid.pem'))).toBe(true);
    await a.startAgent();
    await eventually(async () =>
      expect(await dial(pod(a, 'federated'), 'b/federated', b.id('/federated'))).toMatchObject({ ok: true }),
    );
  });

  it('leaves nothing behind', async () => {
    const { directory } = pod(b, 'short-lived');
    const api = await serveWorkloadApi({
      adminSocketPath: b.adminSocketPath,
      podUid: 'federated',
      socketDirectory: directory,
      log: (message) => log.push(message),
    });
    await eventually(() => expect(readdirSync(directory)).toHaveLength(4));
    await api.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('says that a path is too long for a socket', async () => {
    const socketDirectory = path.join(folder, 'x'.repeat(100));
    await expect(
      serveWorkloadApi({ adminSocketPath: a.adminSocketPath, podUid: 'x', socketDirectory, log: () => undefined }),
    ).rejects.toThrow('longer than 107 bytes');
  });

  function pod(trustDomain: SpireTrustDomain, uid: string): Pod {
    return { trustDomain, uid, directory: path.join(folder, `${trustDomain.name}-${uid}`) };
  }

  async function serveFor({ trustDomain, uid }: Omit<Pod, 'directory'>): Promise<Pod> {
    const { directory } = pod(trustDomain, uid);
    const { adminSocketPath } = trustDomain;
    const options = { adminSocketPath, podUid: uid, socketDirectory: directory };
    served.push(await serveWorkloadApi({ ...options, log: (message) => log.push(`${trustDomain.name} ${message}`) }));
    return pod(trustDomain, uid);
  }

  async function startServer({ directory }: Pod): Promise<string> {
    const address = `127.0.0.1:${await freePort()}`;
    probes.push(spawn(toolPath('probe'), ['serve', '--listen', address], { env: env(directory), stdio: 'ignore' }));
    await eventually(() => connect(address));
    return address;
  }

  async function dial({ directory }: Pod, server: string, expected: string): Promise<unknown> {
    return probe(directory, ['dial', '--address', addresses[server] ?? '', '--expect', expected]);
  }

  async function show({ directory }: Pod): Promise<unknown> {
    return probe(directory, ['show']);
  }

  async function bundlesOf(of: Pod): Promise<string[]> {
    const { bundles } = (await show(of)) as { bundles: { trustDomain: string }[] };
    return bundles.map(({ trustDomain }) => trustDomain);
  }
});

/** Runs a command of the probe. @returns the JSON that it prints, whatever its exit code */
function probe(directory: string, args: string[], more: NodeJS.ProcessEnv = {}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    execFile(toolPath('probe'), args, { env: { ...env(directory), ...more } }, (error, stdout, stderr) => {
      if (stdout === '') reject(error ?? new Error(stderr));
      else resolve(JSON.parse(stdout));
    });
  });
}

function env(directory: string): NodeJS.ProcessEnv {
  return { SPIFFE_ENDPOINT_SOCKET: `unix://${path.join(directory, 'spire-agent.sock')}` };
}

function authorities(directory: string): X509Certificate[] {
  const text = readFileSync(path.join(directory, 'bundle.pem'), 'utf8');
  return (text.match(/-----BEGIN[^]+?END CERTIFICATE-----/g) ?? []).map((pem) => new X509Certificate(pem));
}

function connect(address: string): Promise<void> {
  const [host = '', port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), host, () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });
}

/** Calls a method of a pod's Workload API. @returns its first response */
function call<Response>(pod: Pod, method: string, request: object, metadata = securityHeader()): Promise<Response> {
  const definition = spireServices().workloadApi[method];
  if (definition === undefined) throw new Error(`no method ${method}`);
  const { path: name, requestSerialize, responseDeserialize, responseStream } = definition;
  const client = new Client(`unix:${path.join(pod.directory, 'spire-agent.sock')}`, credentials.createInsecure());
  const answer = new Promise<Response>((resolve, reject) => {
    if (responseStream) {
      const stream = client.makeServerStreamRequest(name, requestSerialize, responseDeserialize, request, metadata);
      stream.once('data', (response: Response) => {
        resolve(response);
        stream.cancel();
      });
      stream.on('error', reject);
    } else {
      const done = (error: ServiceError | null, response?: unknown): void => {
        if (error === null) resolve(response as Response);
        else reject(error);
      };
      client.makeUnaryRequest(name, requestSerialize, responseDeserialize, request, metadata, done);
    }
  });
  return answer.finally(() => client.close());
}

function securityHeader(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}
