import { Context } from '@temporalio/activity';
import type { ClusterRequest, StepOutcome } from '../contract/activities.js';
import { FederatorError } from '../contract/errors.js';
import { SERVER_CONF_LAST_GOOD } from '../contract/names.js';
import { deleteObject } from '../kubernetes/objects.js';
import { readPod } from '../kubernetes/rollout.js';
import { readFederationSection, withFederationSection } from '../spire/serverConf.js';
import type { Clusters, OpenCluster } from './clusters.js';
import { readControl } from './controlFacts.js';
import { optimistically, readServerConfMap, writeServerConf } from './server.js';
import { awaitRollout } from './serverDown.js';

/** What keeps a SPIRE server running: its configuration as it last ran well, and a restart. */
export function serverHealthActivities(clusters: Clusters) {
  return {
    /**
     * Remembers the federation settings that SPIRE server runs well with, beside the file. Nothing else of the file is
     * remembered: it may hold passwords. An operator renders the file from what it holds, and needs no reminder.
     */
    async keepGoodServerConf({ cluster }: ClusterRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      if ((await readControl(connection)).type === 'operator') return { changed: false };
      const changed = await optimistically(async () => {
        const { map, text, annotations } = await readServerConfMap(connection);
        const section = readFederationSection(text);
        if (annotations[SERVER_CONF_LAST_GOOD] === section) return false;
        await writeServerConf(connection, map, text, { [SERVER_CONF_LAST_GOOD]: section });
        return true;
      });
      return { changed };
    },

    /**
     * Puts the federation settings back that SPIRE server last ran well with, and replaces its pod.
     * @throws FederatorError NotFound when none are known, or they are what it fails with: then the fault is elsewhere
     */
    async restoreGoodServerConf({ cluster, timeoutMs }: ClusterRequest & { timeoutMs: number }): Promise<StepOutcome> {
      const open = await clusters.get(cluster);
      const { connection } = open;
      if ((await readControl(connection)).type === 'operator') {
        throw new FederatorError(
          'NotFound',
          `${cluster}: an operator renders server.conf and would revert what is put back. Look at SpireServer cluster and at the server's log: kubectl -n ${connection.cluster.namespace} logs ${connection.cluster.server}-0 -c ${connection.cluster.server} --previous`,
        );
      }
      await optimistically(async () => {
        const { map, text, annotations } = await readServerConfMap(connection);
        const good = annotations[SERVER_CONF_LAST_GOOD];
        if (good === undefined) {
          throw new FederatorError(
            'NotFound',
            `${cluster}: it is not known with which federation settings SPIRE server last ran well.`,
          );
        }
        const restored = withFederationSection(text, good);
        if (restored === text) {
          throw new FederatorError(
            'NotFound',
            `${cluster}: the federation settings are those that SPIRE server last ran well with, so it fails for something else. Read its log: kubectl -n ${connection.cluster.namespace} logs ${connection.cluster.server}-0 -c ${connection.cluster.server} --previous`,
          );
        }
        await writeServerConf(connection, map, restored, {});
      });
      await replacePod(open, timeoutMs);
      return { changed: true, note: 'server.federation as it last ran well' };
    },

    /** Replaces SPIRE server's pod and waits until the new one is ready. */
    async restartServer({ cluster, timeoutMs }: ClusterRequest & { timeoutMs: number }): Promise<StepOutcome> {
      await replacePod(await clusters.get(cluster), timeoutMs);
      return { changed: true };
    },
  };
}

async function replacePod({ connection }: OpenCluster, timeoutMs: number): Promise<void> {
  const { namespace, server } = connection.cluster;
  const name = `${server}-0`;
  const { attempt, scheduledTimestampMs } = Context.current().info;
  // An attempt before this one, whose worker died, may have replaced it.
  const pod = attempt > 1 ? await readPod(connection, namespace, name) : undefined;
  if (new Date(pod?.metadata?.creationTimestamp ?? 0).getTime() <= scheduledTimestampMs)
    await deleteObject(connection, { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace } });
  await awaitRollout(connection, timeoutMs);
}
