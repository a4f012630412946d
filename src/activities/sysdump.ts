import type { Client } from '@temporalio/client';
import type { DumpClusterRequest, DumpedPart, DumpEngineRequest } from '../contract/sysdump.js';
import { redactText } from '../federation/redaction.js';
import { knownSecrets } from '../kubernetes/knownSecrets.js';
import type { Clusters } from './clusters.js';
import { collectCluster } from './dumpCluster.js';
import { collectEngine } from './dumpEngine.js';
import { packTexts, type DumpedText } from './dumpPacking.js';

/** Collecting what a bug report needs. Everything is redacted here, before it leaves the worker. */
export function sysdumpActivities(clusters: Clusters, client: Client) {
  return {
    async dumpCluster(request: DumpClusterRequest): Promise<DumpedPart> {
      const { texts, missing } = await collectCluster(clusters, request);
      const redact = await redactor(clusters);
      return packTexts(redacted(texts, redact), request.limitBytes, redactedValues(missing, redact));
    },

    async dumpEngine(request: DumpEngineRequest): Promise<DumpedPart> {
      const { texts, missing } = await collectEngine(client, request);
      const redact = await redactor(clusters);
      return packTexts(redacted(texts, redact), request.limitBytes, redactedValues(missing, redact));
    },
  };
}

/** Takes away the credentials of all clusters that this worker can have handled: one cluster's log may name another's. */
async function redactor(clusters: Clusters): Promise<(text: string) => string> {
  const own = await clusters.own();
  const known = await Promise.all(
    own.map(async ({ name }) => {
      try {
        return await knownSecrets((await clusters.get(name)).connection);
      } catch {
        // A kubeconfig that cannot be read has put no credential anywhere; that it cannot is told of its cluster.
        return [];
      }
    }),
  );
  const secrets = [...new Set(known.flat())];
  return (text) => redactText(text, secrets);
}

function redacted(texts: readonly DumpedText[], redact: (text: string) => string): DumpedText[] {
  return texts.map((each) => ({ ...each, text: redact(each.text) }));
}

function redactedValues(missing: DumpedPart['missing'], redact: (text: string) => string): DumpedPart['missing'] {
  return missing.map(({ what, why }) => ({ what, why: redact(why) }));
}
