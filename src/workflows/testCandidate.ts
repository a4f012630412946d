import { CancellationScope, log } from '@temporalio/workflow';
import { candidateName } from '../contract/names.js';
import type { ConnectionReport } from '../contract/onboarding.js';
import { runStep, type StepName } from './activities.js';
import { usesOf } from './facts.js';
import { connectionReport, readConnection } from './testCluster.js';

const DISCARD: StepName = { id: 'discardCandidate', title: 'Forget the submitted credentials' };
const ATTEMPTS = 3;

/** Looks whether a cluster can be worked on by submitted credentials, and forgets these. */
export async function testCandidate({ cluster }: { cluster: string }): Promise<ConnectionReport> {
  try {
    const uses = usesOf({ probe: true, monitor: true });
    return connectionReport(cluster, await readConnection(candidateName(cluster), uses));
  } finally {
    await CancellationScope.nonCancellable(() =>
      runStep('discardCandidate', DISCARD, ATTEMPTS, { cluster }).catch((error: unknown) => {
        // The report is what was asked for; who asked takes them away, too.
        log.warn('The submitted credentials could not be taken away', { cluster, error });
      }),
    );
  }
}
