import { CancellationScope } from '@temporalio/workflow';
import { candidateName } from '../contract/names.js';
import type { ConnectionReport } from '../contract/onboarding.js';
import { runUndo } from './activities.js';
import { usesOf } from './facts.js';
import { connectionReport, readConnection } from './testCluster.js';

/** Looks whether a cluster can be worked on by submitted credentials, and forgets these. */
export async function testCandidate({ cluster }: { cluster: string }): Promise<ConnectionReport> {
  try {
    const uses = usesOf({ probe: true, monitor: true });
    return connectionReport(cluster, await readConnection(candidateName(cluster), uses));
  } finally {
    await CancellationScope.nonCancellable(() =>
      runUndo('discardCandidate', `Forget the submitted credentials of ${cluster}`, { cluster }),
    );
  }
}
