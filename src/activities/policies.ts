import { Context } from '@temporalio/activity';
import type { ApplyPoliciesRequest, AwaitPoliciesRequest, StepOutcome } from '../contract/activities.js';
import { owningFederation } from '../federation/ownership.js';
import { CLUSTER_SPIFFE_ID } from '../federation/policy.js';
import { deleteObject, listObjects, readObject } from '../kubernetes/objects.js';
import { waitFor, type Look } from '../kubernetes/wait.js';
import { noticedWithinMs } from '../spire/controllerManager.js';
import type { Clusters } from './clusters.js';
import { writeOwnObject } from './ownObject.js';

/**
 * SPIRE controller manager acts on a new ClusterSPIFFEID at once. One that selects nothing it never reports on: its
 * status is written when the counts change, and these stay zero.
 */
const REPORT_WITHIN_MS = 3_000;

/** The ClusterSPIFFEIDs by which a federation's policies take effect. */
export function policyActivities(clusters: Clusters) {
  return {
    /** @throws FederatorError ForeignObject when somebody else made a ClusterSPIFFEID of that name meanwhile */
    async applyPolicies({ cluster, federation, apply, remove }: ApplyPoliciesRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const applied = await Promise.all(apply.map((object) => writeOwnObject(connection, federation, object)));
      const removed = await Promise.all(
        remove.map(async (name) => {
          const reference = { ...CLUSTER_SPIFFE_ID, metadata: { name } };
          const live = await readObject(connection, reference);
          return live !== undefined && owningFederation(live) === federation && deleteObject(connection, reference);
        }),
      );
      return { changed: applied.includes(true) || removed.includes(true) };
    },

    /**
     * Waits until SPIRE controller manager has reported on ClusterSPIFFEIDs, and until no registration entry federates
     * with a trust domain that is being withdrawn.
     */
    async awaitPolicies({ cluster, names, withdrawn, timeoutMs }: AwaitPoliciesRequest): Promise<StepOutcome> {
      const { connection, spire } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const reportedBy = Date.now() + REPORT_WITHIN_MS;
      return waitFor(
        async (): Promise<Look<StepOutcome>> => {
          const live = await listObjects(connection, CLUSTER_SPIFFE_ID);
          const outcomes = names.map((name) => {
            const object = live.find(({ metadata }) => metadata.name === name);
            const { stats } = (object?.['status'] ?? {}) as { stats?: Record<string, number> };
            return { name, stats };
          });
          const silent = outcomes.filter(({ stats }) => stats === undefined).map(({ name }) => name);
          if (silent.length > 0 && Date.now() < reportedBy) {
            return { done: false, seen: `SPIRE controller manager has not reported on ${silent.join(', ')}` };
          }
          for (const trustDomain of withdrawn) {
            const entries = await spire.federatedEntries(trustDomain, signal);
            if (entries > 0) return { done: false, seen: `${entries} entries still federate with ${trustDomain}` };
          }
          const note = outcomes
            .map(
              ({ name, stats = {} }) =>
                `${name}: ${stats['podsSelected'] ?? 0} pods, ${stats['entriesToSet'] ?? 0} entries`,
            )
            .join('; ');
          return { done: true, value: { changed: false, ...(note === '' ? {} : { note }) } };
        },
        {
          what: `${cluster}: SPIRE controller manager has acted on the policies`,
          timeoutMs: noticedWithinMs(timeoutMs),
          signal,
        },
      );
    },
  };
}
