import { ApplicationFailure, isCancellation } from '@temporalio/workflow';
import type { DeployedProbe } from '../contract/activities.js';
import type { ChangeResult, ProbeSummary } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import type { PairEnd, PairWorkload, ProbePairInput } from '../contract/probePair.js';
import { pairOutcome, pairWorkload, planPairProbe, type PairDial, type PairPlan } from '../federation/pairProbe.js';
import { probeExposure } from '../federation/probe.js';
import { explainWorkloads } from '../federation/workload.js';
import { runStep, runUndo } from './activities.js';
import { readAllFacts } from './facts.js';
import { changeFailure, rootMessage } from './failure.js';
import { Progress } from './progress.js';
import { runSaga, type Saga } from './saga.js';

const ATTEMPTS = 2;

/**
 * Whether two workloads can speak mTLS. They are not touched: on each cluster a test workload stands in for one, with what
 * the workload's registration entries federate with, and these two shake hands in both directions. Where an address of the
 * second is given, it is dialled itself, by a test workload that takes on the SPIFFE ID of the first for as long.
 */
export async function probePair(input: ProbePairInput): Promise<ChangeResult> {
  const { federation, address } = input;
  const progress = new Progress();
  const [facts, read] = await Promise.all([
    readAllFacts(federation, [input.from.cluster, input.to.cluster], ['probe']),
    Promise.all([readEnd(input.from), readEnd(input.to)]),
  ]);
  const [from, to] = read;
  const missing = read.filter((each) => typeof each === 'string');
  if (missing.length > 0) throw ApplicationFailure.nonRetryable(missing.join('\n'), 'NotFound');
  const [first, second] = facts;
  if (typeof from === 'string' || typeof to === 'string' || first === undefined || second === undefined) {
    throw ApplicationFailure.nonRetryable('The two clusters could not be read.', 'Internal');
  }
  const plan = planPairProbe([first, second], [from, to], address);
  progress.plan([
    ...plan.clusters.map(({ deploy }) => deploy),
    ...plan.dials.map((dial) => dial.step),
    ...plan.clusters.map(({ remove }) => remove),
  ]);
  const probes = await runSaga(
    (saga) => new PairProbe(input, plan, [from, to], progress, saga).run(),
    progress,
    changeFailure,
  );
  progress.enter('finished');
  const outcome = pairOutcome(
    probes.map(({ federated, ok, pair }) => ({
      role: federated ? 'federated' : 'unfederated',
      ok,
      expected: pair?.expected ?? 'handshake',
    })),
  );
  return {
    federation,
    planned: false,
    changed: false,
    steps: progress.list,
    members: [],
    probes,
    pair: { from, to, outcome, reasons: plan.reasons },
    leftAlone: [],
    notes: plan.notes,
  };
}

/** @returns the workload, or why it cannot be probed */
async function readEnd({ cluster, workload }: PairEnd): Promise<PairWorkload | string> {
  const step = { id: `readWorkload/${cluster}`, title: `Look for the workload on ${cluster}` };
  const facts = await runStep('readWorkload', step, ATTEMPTS, { cluster, workload, lookInside: false });
  return pairWorkload(facts, workload, explainWorkloads(facts, [facts], Date.now()));
}

class PairProbe {
  private readonly deployed = new Map<string, DeployedProbe>();

  constructor(
    private readonly input: ProbePairInput,
    private readonly plan: PairPlan,
    private readonly workloads: readonly [PairWorkload, PairWorkload],
    private readonly progress: Progress,
    private readonly saga: Saga,
  ) {}

  async run(): Promise<ProbeSummary[]> {
    const { federation, timeouts } = this.input;
    const { clusters, dials } = this.plan;
    await Promise.all(clusters.map((each) => this.deploy(each)));
    const probes = await Promise.all(dials.map((dial) => this.dial(dial)));
    await Promise.all(
      clusters.map(({ facts: { cluster }, remove }) =>
        this.step(remove, () =>
          runStep('removeProbe', remove, timeouts.attempts, { cluster, federation, timeoutMs: timeouts.probeMs }),
        ),
      ),
    );
    return probes;
  }

  private async deploy({ facts, deploy }: PairPlan['clusters'][number]): Promise<void> {
    const { federation, address, timeouts } = this.input;
    const { cluster, className, trustDomain } = facts;
    const timeoutMs = timeouts.probeMs;
    const title = `Remove test workloads from ${cluster}`;
    const exposure = probeExposure(facts.exposure);
    const [from] = this.workloads;
    // Who may speak with the workload may depend on the very SPIFFE ID; between test workloads it plays no part.
    const spiffeId = address !== undefined && cluster === from.cluster ? from.spiffeIds[0] : undefined;
    this.saga.onUndo(1, cluster, title, () => runUndo('removeProbe', title, { cluster, federation, timeoutMs }));
    const deployed = await this.step(deploy, async () => {
      const made = await runStep('deployProbe', deploy, timeouts.attempts, {
        cluster,
        federation,
        className,
        ...(exposure === undefined ? {} : { exposure }),
        trustDomain,
        federatesWith: this.federatesWith(facts),
        ...(spiffeId === undefined ? {} : { spiffeId }),
        timeoutMs,
      });
      return { ...made, changed: true };
    });
    if (deployed !== undefined) this.deployed.set(cluster, deployed);
  }

  private federatesWith({ cluster, storedBundles }: ClusterFacts): string[] {
    const workload = this.workloads.find((each) => each.cluster === cluster);
    return (workload?.federatesWith ?? []).filter((trustDomain) => storedBundles[trustDomain] !== undefined);
  }

  private async dial({ step, from, to, what, role, expected, address }: PairDial): Promise<ProbeSummary> {
    const { federation, timeouts } = this.input;
    const standIn = this.deployed.get(to.cluster);
    const summary = {
      from: from.cluster,
      to: to.cluster,
      federated: role === 'federated',
      pair: { what, expected },
    };
    try {
      const outcome = await this.step(step, () =>
        runStep('runProbe', step, timeouts.attempts, {
          cluster: from.cluster,
          federation,
          role,
          expect: expected,
          ...(address === undefined
            ? { address: standIn?.address ?? '', expectSpiffeId: standIn?.spiffeId ?? '' }
            : { address, expectSpiffeId: to.spiffeIds[0], anyServer: true }),
          timeoutMs: timeouts.probeMs,
        }),
      );
      return { ...summary, ok: outcome?.ok ?? false, outcome: outcome?.evidence ?? '' };
    } catch (error) {
      if (isCancellation(error)) throw error;
      return { ...summary, ok: false, outcome: rootMessage(error) };
    }
  }

  private step<T>(planned: PairDial['step'], run: () => Promise<T>): Promise<T | undefined> {
    return this.progress.follow(planned, () => this.saga.follow(run()));
  }
}
