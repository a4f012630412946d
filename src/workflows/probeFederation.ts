import { isCancellation } from '@temporalio/workflow';
import type { DeployedProbe } from '../contract/activities.js';
import type { ProbeSummary, SetupInput } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import type { ProbePlan } from '../federation/plan.js';
import { probeExposure } from '../federation/probe.js';
import { part, runStep, runUndo, type StepName } from './activities.js';
import { rootMessage } from './failure.js';
import type { Progress } from './progress.js';
import type { Saga } from './saga.js';

const PROBE_STAGE = 5;

/**
 * Proves a federation by mTLS between test workloads: each cluster's federated one reaches every other's, and the
 * unfederated ones are refused. The test workloads are removed in the end, whatever comes of it.
 * @param onFailure `throw`: the first handshake that is not as it must be ends it; `report`: it is a result like others
 */
export async function probeFederation(
  { federation, timeouts }: Pick<SetupInput, 'federation' | 'timeouts'>,
  members: readonly ClusterFacts[],
  { clusters, pairs, steps }: ProbePlan,
  progress: Progress,
  saga: Saga,
  onFailure: 'throw' | 'report' = 'throw',
): Promise<ProbeSummary[]> {
  if (steps.length === 0) return [];
  const timeoutMs = timeouts.probeMs;
  const run = async <T>(id: string, work: (step: StepName) => Promise<T>): Promise<T> => {
    progress.set(id, 'running');
    try {
      const outcome = await saga.follow(work(steps.find((step) => step.id === id) ?? { id, title: id }));
      progress.set(id, 'done');
      return outcome;
    } catch (error) {
      progress.set(id, 'failed');
      throw error;
    }
  };
  const deployed = new Map<string, DeployedProbe>();
  // As they are now: before the change, a newcomer may have had no address.
  const probed = members.filter(({ cluster }) => clusters.some((each) => each.cluster === cluster));
  await Promise.all(
    probed.map(({ cluster, className, exposure, trustDomain, storedBundles }) => {
      const reach = probeExposure(exposure);
      const title = `Remove test workloads from ${cluster}`;
      saga.onUndo(PROBE_STAGE, cluster, title, () => runUndo('removeProbe', title, { cluster, federation, timeoutMs }));
      return run(`deployProbe/${cluster}`, async (step) => {
        // Whoever is dialled verifies the caller, too.
        const federatesWith = probed
          .filter((peer) =>
            pairs.some(({ from, to }) => [from, to].includes(cluster) && [from, to].includes(peer.cluster)),
          )
          .map((peer) => peer.trustDomain)
          .filter((each) => each !== trustDomain && storedBundles[each] !== undefined);
        deployed.set(
          cluster,
          await runStep('deployProbe', step, timeouts.attempts, {
            cluster,
            federation,
            className,
            ...(reach === undefined ? {} : { exposure: reach }),
            trustDomain,
            federatesWith,
            timeoutMs,
          }),
        );
      });
    }),
  );
  const summaries: ProbeSummary[] = [];
  await Promise.all(
    pairs.map(({ from, to }) =>
      run(`probe/${from}→${to}`, async (step) => {
        const target = deployed.get(to);
        if (target?.address === undefined) return;
        const { address, spiffeId } = target;
        const dial = async (role: 'federated' | 'unfederated') => {
          try {
            return await runStep('runProbe', part(step, role), timeouts.attempts, {
              cluster: from,
              federation,
              role,
              expect: role === 'federated' ? 'handshake' : 'refusal',
              address,
              expectSpiffeId: spiffeId,
              timeoutMs,
            });
          } catch (error) {
            if (onFailure === 'throw' || isCancellation(error)) throw error;
            return { ok: false, evidence: rootMessage(error) };
          }
        };
        const [federated, unfederated] = await Promise.all([dial('federated'), dial('unfederated')]);
        summaries.push(
          { from, to, federated: true, ok: federated.ok, outcome: federated.evidence },
          { from, to, federated: false, ok: unfederated.ok, outcome: unfederated.evidence },
        );
      }),
    ),
  );
  await Promise.all(
    probed.map(({ cluster }) =>
      run(`removeProbe/${cluster}`, (step) =>
        runStep('removeProbe', step, timeouts.attempts, { cluster, federation, timeoutMs }),
      ),
    ),
  );
  // Side by side they end in any order; a table wants one.
  const order = probed.map(({ cluster }) => cluster);
  const rank = ({ from, to, federated }: ProbeSummary) =>
    (order.indexOf(from) * order.length + order.indexOf(to)) * 2 + (federated ? 0 : 1);
  return summaries.sort((a, b) => rank(a) - rank(b));
}
