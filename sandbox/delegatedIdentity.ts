import { EventEmitter } from 'node:events';
import { credentials, status, type ClientReadableStream, type StatusObject } from '@grpc/grpc-js';
import { composeIdentity, identityHash, type PodIdentity } from './podIdentity.js';
import {
  spireServices,
  type Bundles,
  type DelegatedIdentityClient,
  type DelegatedJwtSvids,
  type DelegatedX509Svids,
  type SelectorMessage,
} from './spireProtos.js';

const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 1_000;

/** What is known of a pod's identity. */
export type IdentityState =
  /** The agent has not answered yet. */
  | { kind: 'starting' }
  /** The agent does not answer, or does not accept this process as a delegate. */
  | { kind: 'failed'; error: StatusObject }
  /** No registration entry is the pod's. */
  | { kind: 'none' }
  | { kind: 'issued'; identity: PodIdentity };

/** Follows the identity of one pod over a SPIRE agent's Delegated Identity API, and over that agent's restarts. */
export class PodIdentitySource {
  private readonly client: DelegatedIdentityClient;
  private readonly selectors: SelectorMessage[];
  private readonly changes = new EventEmitter<{ change: [IdentityState] }>().setMaxListeners(0);
  private readonly streams = new Set<ClientReadableStream<unknown>>();
  private readonly retries = new Set<NodeJS.Timeout>();
  private readonly failures = new Map<string, StatusObject>();
  private svids: DelegatedX509Svids | undefined;
  private agentBundles: Bundles | undefined;
  private current: IdentityState = { kind: 'starting' };
  private closed = false;

  constructor(
    adminSocketPath: string,
    podUid: string,
    private readonly log: (message: string) => void,
  ) {
    this.selectors = [{ type: 'k8s', value: `pod-uid:${podUid}` }];
    const { delegatedIdentity } = spireServices();
    this.client = new delegatedIdentity(`unix:${adminSocketPath}`, credentials.createInsecure(), {
      'grpc.initial_reconnect_backoff_ms': FIRST_RETRY_MS,
      'grpc.max_reconnect_backoff_ms': MAX_RETRY_MS,
    });
  }

  get state(): IdentityState {
    return this.current;
  }

  start(): void {
    this.follow(
      'X.509-SVIDs',
      () => this.client.SubscribeToX509SVIDs({ selectors: this.selectors }),
      (svids) => (this.svids = svids),
    );
    this.follow(
      'bundles',
      () => this.client.SubscribeToX509Bundles({}),
      ({ caCertificates }) => (this.agentBundles = caCertificates),
    );
  }

  /** @returns a function that ends the subscription */
  onChange(listener: (state: IdentityState) => void): () => void {
    this.changes.on('change', listener);
    return () => this.changes.off('change', listener);
  }

  /** JWT-SVIDs of all of the pod's SPIFFE IDs. Rejects with the agent's ServiceError. */
  fetchJwtSvids(audience: string[]): Promise<DelegatedJwtSvids> {
    return new Promise((resolve, reject) => {
      this.client.FetchJWTSVIDs({ selectors: this.selectors, audience }, (error, response) => {
        if (error !== null) reject(error);
        else resolve(response ?? { svids: [] });
      });
    });
  }

  /** Tells the JWKS documents of all trust domains that the agent knows. @returns a function that ends it */
  subscribeToJwtBundles(onBundles: (bundles: Bundles) => void, onEnd: (error: StatusObject) => void): () => void {
    const stream = this.client.SubscribeToJWTBundles({});
    this.streams.add(stream);
    stream.on('data', ({ bundles }: { bundles: Bundles }) => onBundles(bundles));
    stream.on('status', (ended) => {
      this.streams.delete(stream);
      onEnd(ended);
    });
    stream.on('error', statusTellsIt);
    return () => stream.cancel();
  }

  close(): void {
    this.closed = true;
    for (const retry of this.retries) clearTimeout(retry);
    for (const stream of this.streams) stream.cancel();
    this.changes.removeAllListeners();
    this.client.close();
  }

  /** Keeps a subscription open; what it last told stays valid until it fails. */
  private follow<Message>(
    name: string,
    open: () => ClientReadableStream<Message>,
    take: (message: Message) => void,
  ): void {
    let retryMs = FIRST_RETRY_MS;
    const subscribe = (): void => {
      const stream = open();
      this.streams.add(stream);
      stream.on('data', (message: Message) => {
        retryMs = FIRST_RETRY_MS;
        this.failures.delete(name);
        take(message);
        this.update();
      });
      stream.on('status', (ended) => {
        this.streams.delete(stream);
        if (this.closed) return;
        this.fail(name, ended);
        const retry = setTimeout(() => {
          this.retries.delete(retry);
          subscribe();
        }, retryMs);
        this.retries.add(retry);
        retryMs = Math.min(2 * retryMs, MAX_RETRY_MS);
      });
      stream.on('error', statusTellsIt);
    };
    subscribe();
  }

  private fail(name: string, ended: StatusObject): void {
    // The agent ends a subscription in good order only when it goes away.
    const error =
      ended.code === status.OK ? { ...ended, code: status.UNAVAILABLE, details: 'the agent went away' } : ended;
    if (this.failures.get(name)?.details !== error.details) {
      this.log(`${name}: ${status[error.code]}: ${error.details}`);
    }
    this.failures.set(name, error);
    this.update();
  }

  private update(): void {
    const before = this.current;
    this.current = this.evaluate();
    if (!sameState(before, this.current)) this.changes.emit('change', this.current);
  }

  private evaluate(): IdentityState {
    const [error] = this.failures.values();
    if (error !== undefined) return { kind: 'failed', error };
    if (this.svids === undefined || this.agentBundles === undefined) return { kind: 'starting' };
    if (this.svids.x509Svids.length === 0) return { kind: 'none' };
    const identity = composeIdentity(this.svids, this.agentBundles);
    return identity === undefined ? { kind: 'starting' } : { kind: 'issued', identity };
  }
}

/** grpc-js tells the end of a stream twice if it is an error, and an event called "error" must have a listener. */
function statusTellsIt(): void {}

function sameState(a: IdentityState, b: IdentityState): boolean {
  if (a.kind === 'issued' && b.kind === 'issued') return identityHash(a.identity) === identityHash(b.identity);
  return a.kind === b.kind;
}
