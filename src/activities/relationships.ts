import { Context } from '@temporalio/activity';
import type {
  AwaitBundleRequest,
  ReadBundleOutcome,
  ReadBundleRequest,
  RelationshipRequest,
  RemoveRelationshipRequest,
  StepOutcome,
} from '../contract/activities.js';
import { FederatorError } from '../contract/errors.js';
import { owningFederation } from '../federation/ownership.js';
import {
  CFTD,
  readRelationship,
  relationshipDifferences,
  relationshipManifest,
  serverSpiffeId,
} from '../federation/relationship.js';
import { applyObject, deleteObject, readObject } from '../kubernetes/objects.js';
import { readLog } from '../kubernetes/log.js';
import { waitFor, type Look } from '../kubernetes/wait.js';
import { bundleFingerprint, compareBundles, parseBundle, parseBundleList, withRefreshHint } from '../spire/bundle.js';
import { authorityCertificates, fetchBundleEndpoint } from '../spire/endpoint.js';
import { serverTarget } from '../spire/server.js';
import type { Clusters, OpenCluster } from './clusters.js';
import { readServerConfMap } from './server.js';
import { readServerConf } from '../spire/serverConf.js';

/** SPIRE re-reads its relationships every 10 s (spire: bundle/client/manager.go, configRefreshInterval). */
const CONFIG_REFRESH_MS = 10_000;
/** How long a forced refresh may fail for want of a usable stored bundle before the relationship is made anew. */
const REBOOTSTRAP_AFTER_MS = 3_000;

/** Reading trust bundles, and the relationships through which they are exchanged. */
export function relationshipActivities(clusters: Clusters) {
  return {
    /**
     * Reads a cluster's own bundle through its Kubernetes API and waits until its endpoint, authenticated by that very
     * bundle, serves the same keys.
     * @throws FederatorError NotReady with what was seen last when the endpoint does not come up in time
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
      const { trustDomain } = readServerConf(text);
      return waitFor(
        async (): Promise<Look<ReadBundleOutcome>> => {
          const own = await open.spire.bundle(signal);
          const bundle = parseBundle(own);
          let served: string;
          try {
            served = await fetchBundleEndpoint({
              cluster,
              url: endpointUrl,
              endpointSpiffeId: serverSpiffeId(trustDomain),
              authorities: authorityCertificates(own),
              httpsProxy,
            });
          } catch (error) {
            // A server that is just restarting, or has just rotated, may show its old certificate for some seconds.
            if (error instanceof FederatorError) return { done: false, seen: error.message };
            throw error;
          }
          const { equal, missing, extra } = compareBundles(parseBundle(served), bundle);
          if (!equal) {
            return { done: false, seen: `the endpoint lacks ${missing.length} and has ${extra.length} other keys` };
          }
          return {
            done: true,
            value: {
              trustDomain,
              fingerprint: bundleFingerprint(bundle),
              keyCount: bundle.keys.length,
              bundle: withRefreshHint(own, refreshHintSeconds),
            },
          };
        },
        { what: `${cluster}: bundle endpoint ${endpointUrl} serves the bundle of ${trustDomain}`, timeoutMs, signal },
      );
    },

    /** Creates or corrects a ClusterFederatedTrustDomain. */
    async applyRelationship({ cluster, federation, relationship, bundle }: RelationshipRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const live = await readObject(connection, { ...CFTD, metadata: { name: relationship.name } });
      if (live !== undefined) {
        const differences = relationshipDifferences(readRelationship(live), relationship);
        if (differences.length === 0 && readRelationship(live).trustDomain === relationship.trustDomain)
          return { changed: false };
        if (owningFederation(live) !== federation) {
          throw new FederatorError(
            'ForeignObject',
            `${cluster}: ClusterFederatedTrustDomain ${relationship.name} was made by somebody else, and ${differences.join(', ')}.`,
          );
        }
      }
      await applyObject(connection, relationshipManifest(relationship, bundle, federation));
      return { changed: true };
    },

    /**
     * Waits until a cluster stores exactly the keys that its peer reports through the peer's own Kubernetes API, after a
     * fetch that SPIRE server itself made. Where the stored bundle cannot authenticate the peer, which SPIRE never mends
     * by itself, the relationship is made anew with the peer's current bundle.
     */
    async awaitBundle(request: AwaitBundleRequest): Promise<StepOutcome> {
      const { cluster, trustDomain, peer, relationships, timeoutMs } = request;
      const open = await clusters.get(cluster);
      const trusted = await clusters.get(peer);
      const signal = Context.current().cancellationSignal;
      if (relationships === 'dynamic') await awaitManaged(open, trustDomain, signal);
      const startedAt = Date.now();
      let rebootstrapped = false;
      let own = parseBundle(request.bundle);
      return waitFor(
        async (): Promise<Look<StepOutcome>> => {
          try {
            await open.spire.refresh(trustDomain, signal);
          } catch (error) {
            if (!rebootstrapped && Date.now() - startedAt > REBOOTSTRAP_AFTER_MS && isUnusableBundle(error)) {
              rebootstrapped = true;
              await recreateRelationship(open, request, await trusted.spire.bundle(signal), signal);
            }
            throw error;
          }
          const stored = parseBundleList(await open.spire.storedBundles(signal)).get(trustDomain);
          if (stored === undefined) return { done: false, seen: `no bundle of ${trustDomain} is stored` };
          const { equal, missing, extra } = compareBundles(stored, own);
          if (equal) {
            const note = `${own.keys.length} of ${own.keys.length} keys`;
            return { done: true, value: { changed: rebootstrapped, note } };
          }
          // It may have rotated since it was read.
          own = parseBundle(await trusted.spire.bundle(signal));
          return { done: false, seen: `${missing.length} keys are missing and ${extra.length} are not the peer's` };
        },
        { what: `${cluster} stores exactly the keys of ${peer} (${trustDomain})`, timeoutMs, signal },
      );
    },

    /** Ends a relationship, or puts it back as it was, and removes the peer's stored bundle unless it was there before. */
    async removeRelationship(request: RemoveRelationshipRequest): Promise<StepOutcome> {
      const { cluster, federation, trustDomain, name, before, keepBundle, timeoutMs } = request;
      const { connection, spire } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const live = await readObject(connection, { ...CFTD, metadata: { name } });
      if (before !== undefined) {
        if (before.federation !== federation) return { changed: false, note: 'made by somebody else: left alone' };
        await applyObject(connection, relationshipManifest(before, before.trustDomainBundle, federation));
        return { changed: true };
      }
      const ours = live !== undefined && owningFederation(live) === federation;
      const deleted = ours && (await deleteObject(connection, { ...CFTD, metadata: { name } }));
      if (live !== undefined && !ours) return { changed: false, note: 'made by somebody else: left alone' };
      await awaitUnmanaged({ connection, spire }, trustDomain, timeoutMs, signal);
      if (keepBundle) return { changed: deleted };
      const stored = parseBundleList(await spire.storedBundles(signal)).has(trustDomain);
      if (stored) await spire.deleteBundle(trustDomain, signal);
      return { changed: deleted || stored };
    },
  };
}

/**
 * Waits until SPIRE's bundle manager has taken up a dynamic relationship by itself. A forced refresh that comes first
 * would start the poller on behalf of that one request, and the poller would end with it (spire:
 * pkg/server/bundle/client/manager.go, RefreshBundleFor passes its request's context on).
 */
async function awaitManaged({ connection }: OpenCluster, trustDomain: string, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + CONFIG_REFRESH_MS + 1_000;
  await waitFor(
    async (): Promise<Look<true>> => {
      const lines = await readLog(connection, serverTarget(connection), { tailLines: 1_000 });
      const last = lines.findLast((line) => line.includes(trustDomain) && /(now|no longer) managed/.test(line));
      // After one more regular reload the manager has it, whatever the log says (its level may hide it).
      const done = last?.includes('now managed') === true || Date.now() > deadline;
      return done
        ? { done: true, value: true }
        : { done: false, seen: 'SPIRE server has not taken up the relationship' };
    },
    { what: `SPIRE server manages ${trustDomain}`, timeoutMs: CONFIG_REFRESH_MS * 3, signal },
  );
}

async function awaitUnmanaged(
  { spire }: OpenCluster,
  trustDomain: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  await waitFor(
    async (): Promise<Look<true>> =>
      (await spire.dynamicRelationships(signal)).includes(trustDomain)
        ? { done: false, seen: 'SPIRE controller manager has not removed it yet' }
        : { done: true, value: true },
    { what: `the relationship with ${trustDomain} is gone from SPIRE server`, timeoutMs, signal },
  );
}

/** The stored bundle lost the peer's CA, or there is none: a fetch can never succeed with it. */
function isUnusableBundle(error: unknown): boolean {
  return error instanceof FederatorError && /unknown authority|local copy of bundle not found/.test(error.message);
}

async function recreateRelationship(
  open: OpenCluster,
  { federation, relationship, refreshHintSeconds, trustDomain, timeoutMs }: AwaitBundleRequest,
  bundle: string,
  signal: AbortSignal,
): Promise<void> {
  const reference = { ...CFTD, metadata: { name: relationship.name } };
  const live = await readObject(open.connection, reference);
  if (live !== undefined && owningFederation(live) !== federation) return;
  await deleteObject(open.connection, reference);
  await awaitUnmanaged(open, trustDomain, timeoutMs, signal);
  await applyObject(
    open.connection,
    relationshipManifest(relationship, withRefreshHint(bundle, refreshHintSeconds), federation),
  );
}
