import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { toolAsset } from './tools/toolPath.js';

export interface WorkloadApiOptions {
  /** The agent's admin socket, where its Delegated Identity API is. */
  adminSocketPath: string;
  /** The pod whose identity is served, by its `k8s:pod-uid` selector. */
  podUid: string;
  /** Where spire-agent.sock, svid.pem, svid-key.pem and bundle.pem go. */
  socketDirectory: string;
  log: (message: string) => void;
}

interface DelegatedSvids {
  x509_svids?: {
    x509_svid?: { cert_chain?: Buffer[]; id?: { trust_domain?: string; path?: string }; hint?: string };
    x509_svid_key?: Buffer;
  }[];
  federates_with?: string[];
}

interface Identity {
  svids: { spiffeId: string; chain: Buffer[]; key: Buffer; hint: string; trustDomain: string }[];
  federatesWith: string[];
}

type Stream = grpc.ServerWritableStream<object, object>;

const RETRY_MS = 500;

/**
 * Serves the SPIFFE Workload API for one pod, over a socket of the pod's own, answered from the agent's Delegated
 * Identity API; and keeps the pod's SVID, key and bundles as files beside it, as spiffe-helper does. A sandbox has no
 * kubelet that could attest processes, so the sandbox vouches for the pod by its UID.
 */
export async function serveWorkloadApi(options: WorkloadApiOptions): Promise<{ close(): Promise<void> }> {
  mkdirSync(options.socketDirectory, { recursive: true, mode: 0o700 });
  const api = new PodWorkloadApi(options);
  await api.start();
  return { close: () => api.close() };
}

class PodWorkloadApi {
  private readonly server = new grpc.Server();
  private readonly agent: grpc.Client;
  private readonly subscriptions = new Map<string, grpc.ClientReadableStream<object>>();
  private readonly watchers = new Set<{ stream: Stream; answer: () => object | undefined }>();
  private identity: Identity | undefined;
  private bundles = new Map<string, Buffer>();
  private closed = false;
  private readonly timers = new Set<NodeJS.Timeout>();

  constructor(private readonly options: WorkloadApiOptions) {
    const { DelegatedIdentity } = delegatedPackage();
    this.agent = new DelegatedIdentity(`unix:${options.adminSocketPath}`, grpc.credentials.createInsecure(), {
      'grpc.max_reconnect_backoff_ms': 1_000,
    });
  }

  async start(): Promise<void> {
    const unimplemented = (_call: unknown, callback: grpc.sendUnaryData<object>) =>
      callback({ code: grpc.status.UNIMPLEMENTED, details: 'the sandbox serves X.509-SVIDs only' });
    this.server.addService(workloadService(), {
      FetchX509SVID: (stream: Stream) => this.serve(stream, () => this.svidAnswer()),
      FetchX509Bundles: (stream: Stream) => this.serve(stream, () => this.bundleAnswer()),
      FetchJWTSVID: unimplemented,
      ValidateJWTSVID: unimplemented,
      FetchJWTBundles: (stream: Stream) =>
        stream.destroy(
          Object.assign(new Error('the sandbox serves X.509-SVIDs only'), { code: grpc.status.UNIMPLEMENTED }),
        ),
    });
    const socket = path.join(this.options.socketDirectory, 'spire-agent.sock');
    rmSync(socket, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    const selectors = [{ type: 'k8s', value: `pod-uid:${this.options.podUid}` }];
    this.subscribe('SubscribeToX509SVIDs', { selectors }, (answer) => {
      this.identity = readIdentity(answer as DelegatedSvids);
      this.changed();
    });
    this.subscribe('SubscribeToX509Bundles', {}, (answer) => {
      const { ca_certificates: certificates = {} } = answer as { ca_certificates?: Record<string, Buffer> };
      this.bundles = new Map(Object.entries(certificates).map(([id, der]) => [id.replace('spiffe://', ''), der]));
      this.changed();
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const timer of this.timers) clearTimeout(timer);
    for (const subscription of this.subscriptions.values()) subscription.cancel();
    this.server.forceShutdown();
    this.agent.close();
    await Promise.resolve();
  }

  /** Follows one of the agent's streams, also over its restarts. */
  private subscribe(method: string, request: object, onAnswer: (answer: object) => void): void {
    if (this.closed) return;
    const call = (this.agent as unknown as Record<string, (request: object) => grpc.ClientReadableStream<object>>)[
      method
    ];
    if (call === undefined) throw new Error(`the Delegated Identity API has no ${method}`);
    const stream = call.call(this.agent, request);
    this.subscriptions.set(method, stream);
    let over = false;
    const again = () => {
      if (over || this.closed) return;
      over = true;
      const timer = setTimeout(() => {
        this.timers.delete(timer);
        this.subscribe(method, request, onAnswer);
      }, RETRY_MS);
      this.timers.add(timer);
    };
    stream.on('data', onAnswer);
    stream.on('error', (error: grpc.ServiceError) => {
      // Away while it restarts, or not yet told that it may answer us: both pass.
      const expected = [grpc.status.UNAVAILABLE, grpc.status.CANCELLED, grpc.status.PERMISSION_DENIED];
      if (!this.closed && !expected.includes(error.code)) this.options.log(`Delegated Identity API: ${error.message}`);
      again();
    });
    stream.on('end', again);
  }

  private serve(stream: Stream, answer: () => object | undefined): void {
    // The SPIFFE Workload API asks for this header so that a confused HTTP client gets nothing.
    if (stream.metadata.get('workload.spiffe.io')[0] !== 'true') {
      stream.destroy(
        Object.assign(new Error('security header missing from request'), { code: grpc.status.INVALID_ARGUMENT }),
      );
      return;
    }
    const watcher = { stream, answer };
    this.watchers.add(watcher);
    const forget = () => this.watchers.delete(watcher);
    stream.on('cancelled', forget);
    stream.on('close', forget);
    this.push(watcher);
  }

  private push(watcher: { stream: Stream; answer: () => object | undefined }): void {
    const answer = watcher.answer();
    if (answer !== undefined) {
      watcher.stream.write(answer);
      return;
    }
    this.watchers.delete(watcher);
    watcher.stream.destroy(Object.assign(new Error('no identity issued'), { code: grpc.status.PERMISSION_DENIED }));
  }

  private changed(): void {
    for (const watcher of [...this.watchers]) this.push(watcher);
    this.writeFiles();
  }

  /** The identity with the bundles it needs; undefined while there is none. */
  private svidAnswer(): object | undefined {
    const { identity } = this;
    if (identity === undefined || identity.svids.length === 0) return undefined;
    const own = identity.svids.map(({ trustDomain }) => this.bundles.get(trustDomain));
    if (own.some((bundle) => bundle === undefined)) return undefined;
    return {
      svids: identity.svids.map(({ spiffeId, chain, key, hint }, index) => ({
        spiffe_id: spiffeId,
        x509_svid: Buffer.concat(chain),
        x509_svid_key: key,
        bundle: own[index],
        hint,
      })),
      federated_bundles: this.federatedBundles(identity),
    };
  }

  private bundleAnswer(): object | undefined {
    const { identity } = this;
    if (identity === undefined || identity.svids.length === 0) return undefined;
    const own = identity.svids.flatMap(({ trustDomain }) => {
      const bundle = this.bundles.get(trustDomain);
      return bundle === undefined ? [] : [[`spiffe://${trustDomain}`, bundle] as const];
    });
    return { bundles: { ...Object.fromEntries(own), ...this.federatedBundles(identity) } };
  }

  /** Only the bundles that the entry federates with: the agent gives the delegate all of them. */
  private federatedBundles({ federatesWith }: Identity): Record<string, Buffer> {
    return Object.fromEntries(
      federatesWith.flatMap((trustDomain) => {
        const bundle = this.bundles.get(trustDomain);
        return bundle === undefined ? [] : [[`spiffe://${trustDomain}`, bundle] as const];
      }),
    );
  }

  private writeFiles(): void {
    const { identity } = this;
    const svid = identity?.svids[0];
    if (identity === undefined || svid === undefined) {
      for (const file of ['svid.pem', 'svid-key.pem', 'bundle.pem'])
        rmSync(path.join(this.options.socketDirectory, file), { force: true });
      return;
    }
    const trusted = [svid.trustDomain, ...identity.federatesWith].flatMap((each) => this.bundles.get(each) ?? []);
    this.writeFile('svid-key.pem', pem('PRIVATE KEY', svid.key), 0o600);
    this.writeFile('svid.pem', svid.chain.map((der) => pem('CERTIFICATE', der)).join(''), 0o644);
    this.writeFile(
      'bundle.pem',
      trusted
        .flatMap(splitDer)
        .map((der) => pem('CERTIFICATE', der))
        .join(''),
      0o644,
    );
  }

  private writeFile(name: string, content: string, mode: number): void {
    const file = path.join(this.options.socketDirectory, name);
    writeFileSync(`${file}.new`, content, { mode });
    renameSync(`${file}.new`, file);
  }
}

function readIdentity({ x509_svids: svids = [], federates_with: federatesWith = [] }: DelegatedSvids): Identity {
  return {
    svids: svids.flatMap(({ x509_svid: svid, x509_svid_key: key }) => {
      const trustDomain = svid?.id?.trust_domain;
      if (trustDomain === undefined || key === undefined) return [];
      return [
        {
          trustDomain,
          spiffeId: `spiffe://${trustDomain}${svid?.id?.path ?? ''}`,
          chain: svid?.cert_chain ?? [],
          key,
          hint: svid?.hint ?? '',
        },
      ];
    }),
    federatesWith: federatesWith.map((each) => each.replace('spiffe://', '')),
  };
}

/** Certificates that stand one after the other, each a DER sequence with a length of its own. */
function splitDer(der: Buffer): Buffer[] {
  const certificates: Buffer[] = [];
  for (let offset = 0; offset < der.length;) {
    const first = der[offset + 1] ?? 0;
    const lengthBytes = first < 0x80 ? 0 : first - 0x80;
    const content = lengthBytes === 0 ? first : der.readUIntBE(offset + 2, lengthBytes);
    const end = offset + 2 + lengthBytes + content;
    certificates.push(der.subarray(offset, end));
    offset = end;
  }
  return certificates;
}

function pem(label: string, der: Buffer): string {
  const body = der.toString('base64').replaceAll(/(.{64})(?=.)/g, '$1\n');
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
}

const LOADER_OPTIONS = { keepCase: true, defaults: true, longs: Number } as const;

function delegatedPackage(): { DelegatedIdentity: grpc.ServiceClientConstructor } {
  const root = toolAsset('spire-protos');
  const file = 'spire/api/agent/delegatedidentity/v1/delegatedidentity.proto';
  const loaded = grpc.loadPackageDefinition(
    loadSync(path.join(root, file), { ...LOADER_OPTIONS, includeDirs: [root] }),
  );
  let current: unknown = loaded;
  for (const part of ['spire', 'api', 'agent', 'delegatedidentity', 'v1'])
    current = (current as Record<string, unknown>)[part];
  return current as { DelegatedIdentity: grpc.ServiceClientConstructor };
}

function workloadService(): grpc.ServiceDefinition {
  const file = path.join(toolAsset('spire-protos'), 'spiffe/workload/workload.proto');
  const loaded = grpc.loadPackageDefinition(loadSync(file, LOADER_OPTIONS));
  return (loaded['SpiffeWorkloadAPI'] as grpc.ServiceClientConstructor).service;
}
