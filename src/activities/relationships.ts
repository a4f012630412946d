import { Context } from '@temporalio/activity';
import type {
  ApplyRelationshipsRequest,
  ArrivalOutcome,
  AwaitBundlesRequest,
  AwaitRefreshesRequest,
  DeleteBundlesRequest,
  ReadBundleOutcome,
  ReadBundleRequest,
  RemovedRelationship,
  RemoveRelationshipsRequest,
  StepOutcome,
} from '../contract/activities.js';
import { FederatorError } from '../contract/errors.js';
import type { RelationshipFacts } from '../contract/facts.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { classifyPollError, fetchAdvice, isNotYetValid } from '../federation/freshness.js';
import { hasLostLabels, owningFederation } from '../federation/ownership.js';
import {
  CFTD,
  readRelationship,
  relationshipDifferences,
  relationshipManifest,
  removingPatch,
  rivalRelationships,
} from '../federation/relationship.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { eachLimited } from '../kubernetes/limit.js';
import { applyObject, deleteObject, listObjects, patchObject, readObject } from '../kubernetes/objects.js';
import { readLog } from '../kubernetes/log.js';
import { waitFor, type Look } from '../kubernetes/wait.js';
import {
  bundleFingerprint,
  bundleKeyIds,
  bundleToRestore,
  compareBundles,
  parseBundle,
  withRefreshHint,
  type TrustBundle,
} from '../spire/bundle.js';
import { noticedWithinMs, whyInvalid } from '../spire/controllerManager.js';
import { fetchBundleEndpoint } from '../spire/endpoint.js';
import { serverTarget } from '../spire/server.js';
import type { Clusters, OpenCluster } from './clusters.js';
import { readControllerManager, watchedClass } from './controllerManager.js';
import { endpointIdentity, speaksForBundle } from './endpoint.js';
import { Nudge } from './nudge.js';
import { forgetPendingBundles, notePendingBundles } from './pendingBundles.js';
import { readServerConfMap } from './server.js';
import { readServerConf } from '../spire/serverConf.js';

/** SPIRE re-reads its relationships every 10 s (spire: bundle/client/manager.go, configRefreshInterval). */
const CONFIG_REFRESH_MS = 10_000;
/** How long a forced refresh may fail for want of a usable stored bundle before the relationship is made anew. */
const REBOOTSTRAP_AFTER_MS = 3_000;
/** How long a bundle that was just read may take to be stored before it is read again by another region's workers. */
const ELSEWHERE_AFTER_MS = 3_000;
/** SPIRE controller manager acts on a new ClusterFederatedTrustDomain at once; this long a busy one is waited for. */
const STORED_WITHIN_MS = 5_000;
/** A server presents its old certificate for up to this long (spire: its rotator's tick is 5 s). */
const OLD_CERTIFICATE_MS = 6_000;
/** A fragment of a bundle endpoint's URL, which nobody sends, makes it another one for SPIRE controller manager. */
const RENEWED = 'renewed';
/** Commands run at once in one pod. Each is a process there, in the memory of SPIRE server's container. */
const EXECS_AT_ONCE = 4;

const NONE: ReadonlyMap<string, TrustBundle> = new Map();

/** Reading trust bundles, and the relationships through which they are exchanged. */
export function relationshipActivities(clusters: Clusters) {
  return {
    /**
     * Reads a cluster's own bundle through its Kubernetes API and waits until its endpoint, authenticated by that very
     * bundle (with https_web by the Web PKI), serves the same keys.
     * @throws FederatorError TimedOut with what was seen last when the endpoint does not come up in time,
     *   EndpointNotAuthentic when its certificate is one that nobody will believe
     */
    async readBundle({
      cluster,
      endpointUrl,
      refreshHintSeconds,
      timeoutMs,
    }: ReadBundleRequest): Promise<ReadBundleOutcome> {
      const open = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const { httpsProxy } = await clusters.read();
      const { text } = await readServerConfMap(open.connection);
      const conf = readServerConf(text);
      const { trustDomain } = conf;
      const startedAt = Date.now();
      // An endpoint that proves itself, and serves just what the server said a while ago, proves that it still holds.
      const mayProve = endpointUrl !== undefined && speaksForBundle(conf);
      let own = mayProve ? open.spire.provableBundle() : undefined;
      return waitFor(
        async (): Promise<Look<ReadBundleOutcome>> => {
          own ??= await open.spire.bundle(signal);
          const bundle = parseBundle(own);
          const value: ReadBundleOutcome = {
            trustDomain,
            fingerprint: bundleFingerprint(bundle),
            keyIds: bundleKeyIds(bundle),
            bundle: withRefreshHint(own, refreshHintSeconds),
          };
          if (endpointUrl === undefined) return { done: true, value };
          const identity = await endpointIdentity(open.connection.cluster, conf, own);
          const askedAt = Date.now();
          let served: string;
          try {
            served = await fetchBundleEndpoint({ cluster, url: endpointUrl, identity, httpsProxy });
          } catch (error) {
            if (!(error instanceof FederatorError)) throw error;
            const { profile } = conf.bundleEndpoint ?? {};
            // A certificate in files is as it is; one from ACME is on its way at first.
            const lasting =
              error.type === 'EndpointNotAuthentic' && profile !== undefined && 'servingCertFile' in profile;
            // A server that is just restarting, or has just rotated, may show its old certificate for some seconds.
            if (lasting && Date.now() - startedAt > OLD_CERTIFICATE_MS) throw error;
            // It may have waited for long.
            if (error.type === 'EndpointNotAuthentic' || own !== open.spire.provableBundle()) own = undefined;
            return { done: false, seen: error.message };
          }
          const { equal, missing, extra } = compareBundles(parseBundle(served), bundle);
          if (!equal) {
            own = undefined;
            return { done: false, seen: `the endpoint lacks ${missing.length} and has ${extra.length} other keys` };
          }
          if (mayProve) open.spire.proveBundle(own, askedAt);
          return { done: true, value };
        },
        {
          what: `${cluster}: bundle endpoint ${endpointUrl ?? ''} serves the bundle of ${trustDomain}`,
          timeoutMs,
          signal,
        },
      );
    },

    /** Creates or corrects ClusterFederatedTrustDomains. */
    async applyRelationships({ cluster, federation, relationships }: ApplyRelationshipsRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const changed = await Promise.all(
        relationships.map(({ relationship, bundle }) =>
          applyRelationship(connection, federation, relationship, bundle),
        ),
      );
      return { changed: changed.includes(true) };
    },

    /**
     * Waits until a cluster stores exactly the keys that its peers report through their own Kubernetes APIs. With static
     * relationships that is after a fetch that SPIRE server itself made. Where a stored bundle cannot authenticate its
     * peer, which SPIRE never mends by itself, the relationship is made anew with the peer's current bundle.
     */
    async awaitBundles(request: AwaitBundlesRequest): Promise<ArrivalOutcome> {
      const { cluster, peers, relationships, appliedBeforeRestart = false, timeoutMs } = request;
      const open = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const graceEnds = Date.now() + STORED_WITHIN_MS;
      const arrivals = peers.map((peer) => new Arrival(clusters, open, request, peer));
      const beginning = arrivals.filter((each) => !each.managed);
      const late = () => arrivals.filter((each) => !each.arrived);
      const nudge = new Nudge(open.connection, request.federation, CFTD, appliedBeforeRestart ? 0 : undefined);
      const look = async (): Promise<ReadonlyMap<string, TrustBundle>> => {
        const stored = await open.spire.storedBundles(signal);
        const missing = peers.filter(({ relationship }) => !stored.has(relationship.trustDomain));
        await nudge.whileMissing(missing.map(({ relationship }) => relationship.name));
        return stored;
      };
      if (relationships === 'dynamic' && beginning.length > 0) {
        // SPIRE controller manager stores the bundle together with the relationship: most are there by now.
        await waitFor(
          async (): Promise<Look<true>> => {
            const stored = await look();
            for (const each of arrivals) each.hasArrived(stored);
            const done = beginning.every((each) => each.isStored(stored));
            return done || Date.now() > graceEnds
              ? { done: true, value: true }
              : { done: false, seen: 'SPIRE controller manager has not stored them yet' };
          },
          { what: `${cluster} stores the bundles of its new peers`, timeoutMs, signal },
        );
        const unstored = beginning.filter((each) => !each.arrived).map((each) => each.trustDomain);
        await awaitManaged(open, unstored, signal);
      }
      const patienceEnds = Date.now() + patienceMs(request);
      let stored: ReadonlyMap<string, TrustBundle> | undefined;
      // Without a bundle that could authenticate the peer, a fetch is in vain: one has shown that, from then on it is looked for.
      const isAhead = ({ trustDomain }: Arrival) => stored?.has(trustDomain) === false && Date.now() < patienceEnds;
      return waitFor(
        async (): Promise<Look<ArrivalOutcome>> => {
          const awaited = late();
          if (awaited.some(isAhead)) stored = await look();
          const refused = await eachLimited(awaited, EXECS_AT_ONCE, async (each) =>
            isAhead(each) ? `no bundle of ${each.trustDomain} is stored` : each.refresh(signal),
          );
          const isUnseen = (each: Arrival, index: number) =>
            stored === undefined || (refused[index] === undefined && !each.hasArrived(stored));
          if (awaited.some(isUnseen)) stored = await look();
          const missing = await eachLimited(
            awaited,
            EXECS_AT_ONCE,
            async (each, index) => refused[index] ?? each.whatIsMissing(stored ?? NONE, signal),
          );
          const first = missing.find((each) => each !== undefined);
          if (first !== undefined) return { done: false, seen: first };
          const note = arrivals.map((each) => each.note).join(', ');
          const changed = arrivals.some((each) => each.renewed);
          const { storedReading } = open.spire;
          return { done: true, value: { changed, note, ...(storedReading === undefined ? {} : { storedReading }) } };
        },
        {
          what: `${cluster} stores exactly the keys of ${peers.map((peer) => peer.cluster).join(', ')}`,
          timeoutMs,
          signal,
          // A look is a process in the pod of a server that has just started.
          intervalMs: 200,
        },
      );
    },

    /** Waits until SPIRE server has taken up dynamic relationships by itself, and sees it fetch the peers' bundles. */
    async awaitRefreshes({ cluster, trustDomains, timeoutMs }: AwaitRefreshesRequest): Promise<StepOutcome> {
      const open = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      await awaitManaged(open, trustDomains, signal);
      await eachLimited(trustDomains, EXECS_AT_ONCE, (trustDomain) =>
        waitFor(
          async (): Promise<Look<true>> => {
            await open.spire.refresh(trustDomain, signal);
            return { done: true, value: true };
          },
          { what: `${cluster}: SPIRE server fetches the bundle of ${trustDomain}`, timeoutMs, signal },
        ),
      );
      return { changed: false };
    },

    /** Ends relationships, or puts them back as they were, and removes the peers' stored bundles unless they were there before. */
    async removeRelationships(request: RemoveRelationshipsRequest): Promise<StepOutcome> {
      const { cluster, federation, relationships, control, timeoutMs } = request;
      const open = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const going = relationships.filter(({ keepBundle }) => !keepBundle).map(({ trustDomain }) => trustDomain);
      if (control !== undefined && going.length > 0) await notePendingBundles(open.connection, control, going);
      const outcomes = await Promise.all(relationships.map((each) => removeOrRestore(open, federation, each, signal)));
      const ended = relationships.filter((_each, index) => outcomes[index] === 'gone' || outcomes[index] === 'deleted');
      let changed = outcomes.some((outcome) => outcome === 'deleted' || outcome === 'restored');
      const trustDomains = ended.map(({ trustDomain }) => trustDomain);
      const rivals = await rivalsOf(open, federation, trustDomains);
      // SPIRE controller manager goes on with somebody else's: the relationship stays, and the bundle is its.
      const over = ended.filter(({ trustDomain }) => !rivals.some((each) => each.trustDomain === trustDomain));
      if (over.length > 0) {
        await awaitUnmanaged(
          open,
          over.map(({ trustDomain }) => trustDomain),
          timeoutMs,
          signal,
        );
        const unwanted = over.filter(({ keepBundle }) => !keepBundle).map(({ trustDomain }) => trustDomain);
        changed = (await deleteStored(open, unwanted, signal)) || changed;
      }
      const settled = relationships.map(({ trustDomain }) => trustDomain);
      if (control !== undefined) await forgetPendingBundles(open.connection, control, settled);
      const foreign = relationships.filter((_each, index) => outcomes[index] === 'foreign');
      const left = [...new Set([...foreign, ...rivals].map(({ name }) => name))];
      return {
        changed,
        ...(left.length === 0 ? {} : { note: `left alone, made by somebody else: ${left.join(', ')}` }),
      };
    },

    /** Deletes bundles, those that are stored, of trust domains that SPIRE server has no relationship with any more. */
    async deleteBundles({ cluster, federation, trustDomains }: DeleteBundlesRequest): Promise<StepOutcome> {
      const open = await clusters.get(cluster);
      const rivals = await rivalsOf(open, federation, trustDomains);
      const unwanted = trustDomains.filter((each) => !rivals.some(({ trustDomain }) => trustDomain === each));
      return { changed: await deleteStored(open, unwanted, Context.current().cancellationSignal) };
    },
  };
}

function patienceMs({ rebootstrapAfterMs = REBOOTSTRAP_AFTER_MS }: AwaitBundlesRequest): number {
  return rebootstrapAfterMs;
}

/** One bundle on its way to a cluster that has come to trust its peer. */
class Arrival {
  readonly trustDomain: string;
  arrived = false;
  /** Whether the relationship had to be made anew. */
  renewed = false;
  private fetched = false;
  private keyIds: string[];
  private readonly startedAt = Date.now();

  constructor(
    private readonly clusters: Clusters,
    private readonly open: OpenCluster,
    private readonly request: AwaitBundlesRequest,
    private readonly peer: AwaitBundlesRequest['peers'][number],
  ) {
    this.trustDomain = peer.relationship.trustDomain;
    this.keyIds = peer.keyIds;
  }

  get managed(): boolean {
    return this.peer.managed === true;
  }

  get note(): string {
    return `${this.keyIds.length} of ${this.keyIds.length} keys of ${this.peer.cluster}`;
  }

  isStored(stored: ReadonlyMap<string, TrustBundle>): boolean {
    const bundle = stored.get(this.trustDomain);
    return bundle !== undefined && bundleKeyIds(bundle).join() === this.keyIds.join();
  }

  hasArrived(stored: ReadonlyMap<string, TrustBundle>): boolean {
    this.arrived = this.isStored(stored) && (this.fetched || !this.mustFetch);
    return this.arrived;
  }

  /** Whether SPIRE server believes a certificate of the Web PKI is seen by a fetch of its own only. */
  private get mustFetch(): boolean {
    return this.peer.relationship.profileType === 'https_web';
  }

  /** Makes SPIRE server fetch the bundle. @returns why it could not, where time may mend it */
  async refresh(signal: AbortSignal): Promise<string | undefined> {
    try {
      await this.open.spire.refresh(this.trustDomain, signal);
      this.fetched = true;
      return undefined;
    } catch (error) {
      if (!(error instanceof FederatorError) || !error.retryable) throw error;
      const advice = fetchAdvice(error.message);
      const said = advice === undefined ? error.message : `${error.message} ${advice}`;
      const cause = classifyPollError(error.message);
      const isLasting = cause === 'webCertificate' || (cause === 'certificateTime' && !isNotYetValid(error.message));
      if (isLasting && Date.now() - this.startedAt > OLD_CERTIFICATE_MS) {
        throw new FederatorError('EndpointNotAuthentic', said);
      }
      if (!this.renewed && Date.now() - this.startedAt >= patienceMs(this.request) && isUnusableBundle(error)) {
        this.renewed = true;
        const { relationship, bundle } = this.peer;
        const current = bundle ?? (await this.askPeer(signal));
        await recreateRelationship(this.open, this.request, relationship, current, signal);
      }
      return said;
    }
  }

  /** What keeps the stored bundle from being the peer's; the peer may have rotated since it was read, so it is asked again. */
  async whatIsMissing(stored: ReadonlyMap<string, TrustBundle>, signal: AbortSignal): Promise<string | undefined> {
    if (this.hasArrived(stored)) return undefined;
    const bundle = stored.get(this.trustDomain);
    if (bundle === undefined) return `no bundle of ${this.trustDomain} is stored`;
    if (!(await this.isWithinReach()) && Date.now() - this.startedAt < ELSEWHERE_AFTER_MS)
      return `the stored bundle of ${this.trustDomain} does not have the keys that ${this.peer.cluster} had`;
    const own = parseBundle(await this.askPeer(signal));
    this.keyIds = bundleKeyIds(own);
    if (this.hasArrived(stored)) return undefined;
    const { missing, extra } = compareBundles(bundle, own);
    return `of the bundle of ${this.trustDomain}, ${missing.length} keys are missing and ${extra.length} are not the peer's`;
  }

  /** @throws FederatorError BundleElsewhere where another region's workers have to ask */
  private async askPeer(signal: AbortSignal): Promise<string> {
    const { cluster } = this.peer;
    if (!(await this.isWithinReach())) {
      throw new FederatorError(
        'BundleElsewhere',
        `${this.request.cluster} does not hold the keys of ${cluster} as they were read, and ${cluster} is of another region: it has to be asked there.`,
      );
    }
    return (await this.clusters.get(cluster)).spire.bundle(signal);
  }

  /** Whether the peer is of the same region, whose workers reach both. */
  private async isWithinReach(): Promise<boolean> {
    const { clusters } = await this.clusters.read();
    const peer = clusters.find(({ name }) => name === this.peer.cluster);
    return peer !== undefined && peer.region === this.open.connection.cluster.region;
  }
}

async function deleteStored(
  { spire }: OpenCluster,
  trustDomains: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  if (trustDomains.length === 0) return false;
  const stored = await spire.storedBundles(signal);
  const unwanted = trustDomains.filter((trustDomain) => stored.has(trustDomain));
  for (const trustDomain of unwanted) await spire.deleteBundle(trustDomain, signal);
  return unwanted.length > 0;
}

/** Somebody else's relationships with these trust domains, on which SPIRE controller manager acts. */
async function rivalsOf(
  { connection }: OpenCluster,
  federation: string,
  trustDomains: readonly string[],
): Promise<RelationshipFacts[]> {
  if (trustDomains.length === 0) return [];
  const relationships = (await listObjects(connection, CFTD)).map(relationshipFacts);
  if (relationships.every((each) => each.federation === federation || !trustDomains.includes(each.trustDomain)))
    return [];
  const settings = await readControllerManager(connection);
  const { watchClassless } = settings;
  const facts = {
    relationships,
    className: watchedClass(connection, settings),
    ...(watchClassless ? { watchClassless } : {}),
  };
  return trustDomains.flatMap((trustDomain) => rivalRelationships(facts, trustDomain, federation));
}

/** Reads a ClusterFederatedTrustDomain, and whether SPIRE controller manager would take it. */
export function relationshipFacts(object: KubernetesObject): RelationshipFacts {
  const invalid = whyInvalid(object);
  return { ...readRelationship(object), ...(invalid === undefined ? {} : { invalid }) };
}

async function applyRelationship(
  connection: ClusterConnection,
  federation: string,
  relationship: RelationshipFacts,
  bundle: string,
): Promise<boolean> {
  const live = await readObject(connection, { ...CFTD, metadata: { name: relationship.name } });
  if (live !== undefined) {
    const differences = relationshipDifferences(relationshipFacts(live), relationship);
    const isTakenBack = hasLostLabels(live) && differences.length === 0;
    if (differences.length === 0 && !isTakenBack) return false;
    if (owningFederation(live) !== federation && !isTakenBack) {
      throw new FederatorError(
        'ForeignObject',
        `${connection.cluster.name}: ClusterFederatedTrustDomain ${relationship.name} was made by somebody else, and ${differences.join(', ')}.`,
      );
    }
  }
  await writeRelationship(connection, live, relationshipManifest(relationship, bundle, federation));
  return true;
}

async function writeRelationship(
  connection: ClusterConnection,
  live: KubernetesObject | undefined,
  manifest: KubernetesObject,
): Promise<void> {
  const removing = live && removingPatch(live, manifest);
  if (removing !== undefined) await patchObject(connection, removing);
  await applyObject(connection, manifest);
}

async function removeOrRestore(
  { connection, spire }: OpenCluster,
  federation: string,
  { name, before }: RemovedRelationship,
  signal: AbortSignal,
): Promise<'restored' | 'deleted' | 'gone' | 'foreign'> {
  const live = await readObject(connection, { ...CFTD, metadata: { name } });
  if (before !== undefined) {
    if (before.federation !== federation) return 'foreign';
    const isAsBefore = live !== undefined && relationshipDifferences(relationshipFacts(live), before).length === 0;
    const stored = isAsBefore ? undefined : await spire.storedBundle(before.trustDomain, signal);
    const bundle = bundleToRestore(before.trustDomainBundle, stored);
    await writeRelationship(connection, live, relationshipManifest(before, bundle, federation));
    return 'restored';
  }
  if (live === undefined) return 'gone';
  if (owningFederation(live) !== federation) return 'foreign';
  return (await deleteObject(connection, { ...CFTD, metadata: { name } })) ? 'deleted' : 'gone';
}

/**
 * Waits until SPIRE's bundle manager has taken up a dynamic relationship by itself. A forced refresh that comes first
 * would start the poller on behalf of that one request, and the poller would end with it (spire:
 * pkg/server/bundle/client/manager.go, RefreshBundleFor passes its request's context on).
 */
async function awaitManaged(
  { connection }: OpenCluster,
  trustDomains: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  if (trustDomains.length === 0) return;
  const deadline = Date.now() + CONFIG_REFRESH_MS + 1_000;
  await waitFor(
    async (): Promise<Look<true>> => {
      const lines = await readLog(connection, serverTarget(connection), { tailLines: 1_000 });
      const managed = trustDomains.every((trustDomain) => {
        const last = lines.findLast((line) => line.includes(trustDomain) && /(now|no longer) managed/.test(line));
        return last?.includes('now managed') === true;
      });
      // After one more regular reload the manager has them, whatever the log says (its level may hide it).
      return managed || Date.now() > deadline
        ? { done: true, value: true }
        : { done: false, seen: 'SPIRE server has not taken up the relationship' };
    },
    { what: `SPIRE server manages ${trustDomains.join(', ')}`, timeoutMs: CONFIG_REFRESH_MS * 3, signal },
  );
}

async function awaitUnmanaged(
  { spire }: OpenCluster,
  trustDomains: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  await waitFor(
    async (): Promise<Look<true>> => {
      const left = await spire.dynamicRelationships(signal);
      return trustDomains.some((trustDomain) => left.includes(trustDomain))
        ? { done: false, seen: 'SPIRE controller manager has not removed it yet' }
        : { done: true, value: true };
    },
    {
      what: `the relationship with ${trustDomains.join(', ')} is gone from SPIRE server`,
      timeoutMs: noticedWithinMs(timeoutMs),
      signal,
    },
  );
}

/** The stored bundle lost the peer's CA, or there is none: a fetch can never succeed with it. */
function isUnusableBundle(error: FederatorError): boolean {
  return ['unknownAuthority', 'neverBootstrapped'].includes(classifyPollError(error.message));
}

async function recreateRelationship(
  open: OpenCluster,
  { federation, refreshHintSeconds, timeoutMs }: AwaitBundlesRequest,
  relationship: RelationshipFacts,
  bundle: string,
  signal: AbortSignal,
): Promise<void> {
  const reference = { ...CFTD, metadata: { name: relationship.name } };
  const live = await readObject(open.connection, reference);
  if (live !== undefined && owningFederation(live) !== federation) return;
  // It would never be gone from SPIRE server, and one that is made now would come to nothing.
  if (live === undefined && (await rivalsOf(open, federation, [relationship.trustDomain])).length > 0) return;
  const current = withRefreshHint(bundle, refreshHintSeconds);
  if (live !== undefined && (await hasRivals(open, relationship))) {
    // Made anew it would be the youngest, and another one would count. A change of its URL sends the bundle as well.
    const bundleEndpointURL = `${relationship.bundleEndpointURL}#${RENEWED}`;
    const renewed = relationshipManifest({ ...relationship, bundleEndpointURL }, current, federation);
    await applyObject(open.connection, renewed);
    await awaitStored(open, relationship.trustDomain, parseBundle(current), timeoutMs, signal);
  } else {
    await deleteObject(open.connection, reference);
    await awaitUnmanaged(open, [relationship.trustDomain], timeoutMs, signal);
  }
  await applyObject(open.connection, relationshipManifest(relationship, current, federation));
}

/** Whether there are others for the same trust domain. */
async function hasRivals({ connection }: OpenCluster, { name, trustDomain }: RelationshipFacts): Promise<boolean> {
  const relationships = (await listObjects(connection, CFTD)).map(readRelationship);
  return relationships.some((each) => each.trustDomain === trustDomain && each.name !== name);
}

async function awaitStored(
  { spire }: OpenCluster,
  trustDomain: string,
  bundle: TrustBundle,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  await waitFor(
    async (): Promise<Look<true>> => {
      const stored = (await spire.storedBundles(signal)).get(trustDomain);
      return stored !== undefined && compareBundles(stored, bundle).equal
        ? { done: true, value: true }
        : { done: false, seen: 'SPIRE controller manager has not sent it yet' };
    },
    { what: `the bundle of ${trustDomain} is stored`, timeoutMs: noticedWithinMs(timeoutMs), signal },
  );
}
