import { createHash, randomUUID } from 'node:crypto';
import { FederatorError } from '../contract/errors.js';
import type { AgentFacts, EntryFacts } from '../contract/workload.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { execInPod, NOT_STARTED, type ExecResult, type ExecTarget } from '../kubernetes/exec.js';
import { parseStoredBundles, storedJwks, type TrustBundle } from './bundle.js';

/** Where images keep the binary: in the working folder of older ones, ZTWIM's, upstream's. They have no shell to ask. */
const BINARIES = ['./spire-server', '/spire-server', '/opt/spire/bin/spire-server'] as const;

/** Words of the CLI for a server whose API socket is not there (yet): a restart in progress, not a wrong call. */
const UNAVAILABLE =
  /connection error|connect: connection refused|no such file or directory|code = Unavailable|transport is closing|context deadline exceeded|server is unavailable/i;

const VERSION = /^v?\d+\.\d+/;

/** Words of exec for a binary that is not at that path. */
const NO_SUCH_BINARY = /no such file or directory.*|executable file not found|not found in \$PATH|exec format error/i;

/**
 * For so long after a server was asked for its own bundle, its endpoint may speak for it: the monitor asks it anew every
 * 75 s by default. No longer, for whoever has stolen a CA that was revoked since could stand in for the endpoint, but not
 * for the cluster's Kubernetes API.
 */
const PROVABLE_MS = 2 * 60_000;

/** What was read of the bundles that a server stores. */
interface StoredReading {
  /** Of the text that they were read from: parsing hundreds of bundles that have not changed is most of a reading's work. */
  digest: string;
  bundles: ReadonlyMap<string, TrustBundle>;
  reading: number;
  askedAt: number;
}

/** Subject key identifiers (hex) of a server's CAs. */
export interface Authorities {
  active?: string;
  prepared?: string;
  old?: string;
}

/** The pod and container of a cluster's SPIRE server. */
export function serverTarget({ cluster }: ClusterConnection): ExecTarget {
  return { namespace: cluster.namespace, pod: `${cluster.server}-0`, container: cluster.server };
}

/**
 * A SPIRE server, spoken to through its own command line in its own pod: authenticated by the cluster's Kubernetes API,
 * with no other port needed.
 */
export class SpireServer {
  private binary: string | undefined;
  private newestBundle: { text: string; askedAt: number; provenAt: number } | undefined;
  private newestStored: StoredReading | undefined;
  private readings = 0;
  /** Tells these readings from those of other workers, and of other connections to the same server. */
  private readonly id = randomUUID();
  /** By the digest of the image, which says what is in it. */
  private readonly versions = new Map<string, string>();

  constructor(private readonly connection: ClusterConnection) {}

  /** The server's own trust bundle as a SPIFFE bundle (JWKS). SPIRE leaves the refresh hint out of it. */
  async bundle(signal?: AbortSignal): Promise<string> {
    const askedAt = Date.now();
    const text = await this.read(['bundle', 'show', '-format', 'spiffe'], signal);
    if (askedAt >= (this.newestBundle?.askedAt ?? 0)) this.newestBundle = { text, askedAt, provenAt: askedAt };
    return text;
  }

  /**
   * The bundle as it was when it was asked for, or proven, within that time; undefined when it was not. It may be another
   * one now.
   */
  recentBundle(maxAgeMs: number): string | undefined {
    return Date.now() - (this.newestBundle?.provenAt ?? 0) <= maxAgeMs ? this.provableBundle() : undefined;
  }

  /** The bundle as it was when it was last asked for, as long as its endpoint may prove that it is so still. */
  provableBundle(): string | undefined {
    const newest = this.newestBundle;
    return newest !== undefined && Date.now() - newest.askedAt <= PROVABLE_MS ? newest.text : undefined;
  }

  /** Notes that the endpoint, authenticated by this bundle, served just its keys. */
  proveBundle(text: string, provenAt: number): void {
    if (this.newestBundle?.text === text) this.newestBundle = { ...this.newestBundle, provenAt };
  }

  /**
   * Every foreign bundle it stores by trust domain, with the hint that SPIRE polls by: the very map of the reading before,
   * where nothing has changed since.
   */
  async storedBundles(signal?: AbortSignal): Promise<ReadonlyMap<string, TrustBundle>> {
    const reading = ++this.readings;
    const askedAt = Date.now();
    // In JSON: no bundles at all is not an empty answer then, as it is when exec loses the output.
    const text = await this.read(['bundle', 'list', '-output', 'json'], signal);
    const digest = createHash('sha256').update(text).digest('base64');
    const bundles = digest === this.newestStored?.digest ? this.newestStored.bundles : parseStoredBundles(text);
    if (reading > (this.newestStored?.reading ?? 0)) this.newestStored = { digest, bundles, reading, askedAt };
    return bundles;
  }

  /** A foreign bundle that it stores as a SPIFFE bundle (JWKS), with its hint; undefined when there is none. */
  async storedBundle(trustDomain: string, signal?: AbortSignal): Promise<string | undefined> {
    return storedJwks(await this.read(['bundle', 'list', '-output', 'json'], signal), trustDomain);
  }

  /** Names the newest reading of the stored bundles; undefined when there was none. */
  get storedReading(): string | undefined {
    return this.newestStored && `${this.id}/${this.newestStored.reading}`;
  }

  /**
   * What a reading, or one that began after it, found stored, asked for within that time; undefined when it was not, or
   * not through this connection.
   */
  storedSince(name: string, maxAgeMs: number): ReadonlyMap<string, TrustBundle> | undefined {
    const [id, reading] = name.split('/');
    const newest = this.newestStored;
    if (id !== this.id || newest === undefined || newest.reading < Number(reading)) return undefined;
    return Date.now() - newest.askedAt <= maxAgeMs ? newest.bundles : undefined;
  }

  /** Number of agents that are attested and not banned. */
  async agents(signal?: AbortSignal): Promise<number> {
    const count = JSON.parse(await this.read(['agent', 'count', '-output', 'json'], signal)) as {
      count?: number | string;
    };
    return Number(count.count ?? 0);
  }

  /**
   * Version as the binary says it, e.g. "1.15.2".
   * @param imageId of the container that runs, as its status has it; one with a digest is asked only once
   */
  async version(signal?: AbortSignal, imageId = ''): Promise<string> {
    const known = this.versions.get(imageId);
    if (known !== undefined) return known;
    const result = await this.exec(['--version'], { signal });
    if (result.exitCode !== 0) throw this.failed('tell its version', result);
    const version = `${result.stdout}${result.stderr}`.trim().split('\n')[0] ?? '';
    if (VERSION.test(version) && imageId.includes('sha256:')) this.versions.set(imageId, version);
    return version;
  }

  /** Trust domains of the dynamic relationships, which SPIRE controller manager made. Static ones are not listed by SPIRE. */
  async dynamicRelationships(signal?: AbortSignal): Promise<string[]> {
    const text = await this.read(['federation', 'list', '-output', 'json'], signal);
    const list = JSON.parse(text) as { federation_relationships?: { trust_domain: string }[] };
    return (list.federation_relationships ?? []).map((each) => each.trust_domain);
  }

  /** Registration entries, all of them or those with a SPIFFE ID. */
  async entries(spiffeId?: string, signal?: AbortSignal): Promise<EntryFacts[]> {
    const filter = spiffeId === undefined ? [] : ['-spiffeID', spiffeId];
    const list = JSON.parse(await this.read(['entry', 'show', ...filter, '-output', 'json'], signal)) as {
      entries?: {
        spiffe_id: SpiffeIdJson;
        parent_id: SpiffeIdJson;
        federates_with?: string[];
        hint?: string;
        selectors?: { type: string; value: string }[];
      }[];
    };
    return (list.entries ?? []).map((entry) => ({
      spiffeId: readSpiffeId(entry.spiffe_id),
      parentId: readSpiffeId(entry.parent_id),
      federatesWith: entry.federates_with ?? [],
      hint: entry.hint ?? '',
      selectors: (entry.selectors ?? []).map(({ type, value }) => `${type}:${value}`),
    }));
  }

  /** An agent that has attested, by its SPIFFE ID; undefined when there is none such. */
  async agent(spiffeId: string, signal?: AbortSignal): Promise<AgentFacts | undefined> {
    const args = ['agent', 'show', '-spiffeID', spiffeId, '-output', 'json'];
    const result = await this.exec(args, { signal });
    if (result.exitCode !== 0 && /not found|NotFound/.test(words(result))) return undefined;
    if (result.exitCode !== 0) throw this.failed('agent show', result);
    const text = result.stdout.trim() === '' ? await this.read(args, signal) : result.stdout;
    const { x509svid_expires_at: seconds, banned = false } = JSON.parse(text) as {
      x509svid_expires_at?: string | number;
      banned?: boolean;
    };
    return { spiffeId, expiresAt: new Date(Number(seconds ?? 0) * 1000).toISOString(), banned };
  }

  /** Number of registration entries that federate with a trust domain. */
  async federatedEntries(trustDomain: string, signal?: AbortSignal): Promise<number> {
    const args = ['entry', 'show', '-federatesWith', `spiffe://${trustDomain}`, '-output', 'json'];
    const list = JSON.parse(await this.read(args, signal)) as { entries?: unknown[] };
    return list.entries?.length ?? 0;
  }

  /**
   * Makes the server fetch a peer's bundle now, and waits for it.
   * @throws FederatorError NotReady when it has no such relationship (yet), EndpointUnreachable with SPIRE's own words
   *   when the fetch failed
   */
  async refresh(trustDomain: string, signal?: AbortSignal, timeoutMs = 20_000): Promise<void> {
    // SPIRE sets no limit of its own: a peer that accepts and never answers would hang this for good.
    const result = await this.exec(['federation', 'refresh', '-id', `spiffe://${trustDomain}`], {
      signal,
      timeoutMs,
    });
    if (result.exitCode === 0) return;
    const said = words(result);
    if (said.includes('there is no federation relationship')) {
      throw new FederatorError(
        'NotReady',
        `${this.name}: SPIRE server has no federation relationship with ${trustDomain} yet.`,
      );
    }
    if (UNAVAILABLE.test(said) && !said.includes('failed to refresh bundle')) throw this.unavailable(said);
    throw new FederatorError(
      'EndpointUnreachable',
      `${this.name}: SPIRE server cannot fetch the bundle of ${trustDomain}: ${said}`,
    );
  }

  /** Deletes a stored foreign bundle and its mention in entries; no error when it is not stored. */
  async deleteBundle(trustDomain: string, signal?: AbortSignal): Promise<void> {
    const result = await this.exec(['bundle', 'delete', '-id', `spiffe://${trustDomain}`, '-mode', 'dissociate'], {
      signal,
    });
    if (result.exitCode === 0 || /not found/i.test(words(result))) return;
    throw this.failed('delete a bundle', result);
  }

  /** Its own CAs by their place in a rotation, each named by its subject key identifier. */
  async authorities(signal?: AbortSignal): Promise<Authorities> {
    const shown = JSON.parse(await this.read(['localauthority', 'x509', 'show', '-output', 'json'], signal)) as Record<
      keyof Authorities,
      { authority_id?: string } | null | undefined
    >;
    const id = (slot: keyof Authorities) => {
      const authorityId = shown[slot]?.authority_id;
      return authorityId === undefined || authorityId === '' ? {} : { [slot]: authorityId };
    };
    return { ...id('active'), ...id('prepared'), ...id('old') };
  }

  /** Makes the next CA, and puts it into the bundle beside the active one. */
  async prepareAuthority(signal?: AbortSignal): Promise<void> {
    await this.run(['localauthority', 'x509', 'prepare', '-output', 'json'], { signal });
  }

  /** Signs with the prepared CA from now on, or distrusts the old one. */
  async changeAuthority(
    action: 'activate' | 'taint' | 'revoke',
    authorityId: string,
    signal?: AbortSignal,
  ): Promise<'done' | 'was done before'> {
    const args = ['localauthority', 'x509', action, '-authorityID', authorityId];
    const result = await this.exec(args, { signal });
    this.newestBundle = undefined;
    if (result.exitCode === 0) return 'done';
    if (/already tainted|already active/i.test(words(result))) return 'was done before';
    throw this.failed(`${action} its CA ${authorityId}`, result);
  }

  private get name(): string {
    return this.connection.cluster.name;
  }

  /** Runs a command that must print something. */
  private async read(args: string[], signal?: AbortSignal): Promise<string> {
    const text = await this.run(args, { signal });
    // Exec over a web socket now and then loses the output of a command that succeeded.
    return text === '' ? this.run(args, { signal }) : text;
  }

  private async run(args: string[], options: { signal?: AbortSignal | undefined }): Promise<string> {
    const result = await this.exec(args, options);
    if (result.exitCode !== 0) throw this.failed(args.slice(0, 2).join(' '), result);
    return result.stdout.trim();
  }

  private async exec(
    args: string[],
    { signal, timeoutMs }: { signal?: AbortSignal | undefined; timeoutMs?: number },
  ): Promise<ExecResult> {
    const target = serverTarget(this.connection);
    const options = { ...(signal === undefined ? {} : { signal }), ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    if (this.binary !== undefined) return execInPod(this.connection, target, [this.binary, ...args], options);
    let result: ExecResult | undefined;
    for (const binary of BINARIES) {
      result = await execInPod(this.connection, target, [binary, ...args], options);
      if (result.exitCode < NOT_STARTED || !NO_SUCH_BINARY.test(words(result))) {
        this.binary = binary;
        return result;
      }
    }
    throw new FederatorError(
      'SpireFailed',
      `${this.name}: container ${target.container} of pod ${target.pod} has no SPIRE server binary at ${BINARIES.join(', ')}.`,
    );
  }

  private failed(what: string, result: ExecResult): FederatorError {
    const said = words(result);
    // Where a command cannot even be started, its container is about to end or to begin.
    if (UNAVAILABLE.test(said) || result.exitCode === NOT_STARTED) return this.unavailable(said);
    return new FederatorError('SpireFailed', `${this.name}: SPIRE server refused to ${what}: ${said}`);
  }

  private unavailable(said: string): FederatorError {
    return new FederatorError('SpireUnavailable', `${this.name}: SPIRE server does not answer: ${said}`);
  }
}

/** A SPIFFE ID as SPIRE's command line prints it in JSON. */
interface SpiffeIdJson {
  trust_domain: string;
  path: string;
}

function readSpiffeId({ trust_domain: trustDomain, path }: SpiffeIdJson): string {
  return `spiffe://${trustDomain}${path}`;
}

function words({ stdout, stderr, exitCode }: ExecResult): string {
  return `${stderr}\n${stdout}`.trim().replaceAll(/\s+/g, ' ').slice(0, 500) || `exit code ${exitCode}`;
}
