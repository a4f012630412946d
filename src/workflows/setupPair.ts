import { workflowInfo } from '@temporalio/workflow';
import type { ReadBundleOutcome, StepOutcome } from '../contract/activities.js';
import type { ChangeResult, PlannedStep, ProbeSummary, SetupInput } from '../contract/change.js';
import type { ClusterFacts, Problem } from '../contract/facts.js';
import { planSetup, planSteps, type EdgePlan, type MemberPlan, type SetupPlan } from '../federation/plan.js';
import { relationshipName, wantedRelationship } from '../federation/relationship.js';
import { endpointPort, wantedFederation } from '../federation/serverConfPlan.js';
import { runStep, runUndo } from './activities.js';
import { changeFailure, preflightFailure } from './failure.js';
import { probeFederation } from './probe.js';
import { Progress } from './progress.js';
import { runSaga, type Saga } from './saga.js';
import { verifyMembers } from './verify.js';

/** Undo order: relationships and bundles first, then the server's configuration, then what exposes the endpoint. */
const STAGE = { expose: 1, configure: 2, relate: 3 } as const;

/**
 * Federates two clusters: exposes both bundle endpoints, configures and restarts both SPIRE servers, exchanges their
 * trust bundles through authenticated channels, and proves the result. Finishes, or leaves both as they were.
 */
export async function setupPair(input: SetupInput): Promise<ChangeResult> {
  const progress = new Progress();
  const facts = await readAllFacts(input.federation, input.clusters);
  const plan = planSetup(input, facts);
  if (plan.problems.length > 0) throw preflightFailure(plan.problems);
  progress.plan(planSteps(plan));
  if (input.planOnly) return result(input, progress, plan, { planned: true, changed: plan.changes });
  return runSaga((saga) => new Setup(input, plan, progress, saga).run(), progress, changeFailure);
}

/** Reads all clusters side by side; what stands in the way on any of them is reported at once. */
export async function readAllFacts(federation: string, clusters: readonly string[]): Promise<ClusterFacts[]> {
  const results = await Promise.all(
    clusters.map((cluster) =>
      runStep('readFacts', { id: `readFacts/${cluster}`, title: `Read ${cluster}` }, 3, {
        cluster,
        federation,
        preflight: true,
      }),
    ),
  );
  const problems: Problem[] = results.flatMap((each) => each.problems);
  if (problems.length > 0) throw preflightFailure(problems);
  return results.map((each) => each.facts).filter((facts) => facts !== undefined);
}

function result(
  { federation }: SetupInput,
  progress: Progress,
  plan: SetupPlan,
  outcome: { planned: boolean; changed: boolean; probes?: ProbeSummary[]; members?: ChangeResult['members'] },
): ChangeResult {
  const { planned, changed, probes = [], members = [] } = outcome;
  progress.enter('finished');
  return { federation, planned, changed, steps: progress.list, members, probes, leftAlone: plan.leftAlone };
}

/** One run of the plan. */
class Setup {
  private readonly urls = new Map<string, string>();
  private readonly bundles = new Map<string, ReadBundleOutcome>();
  private readonly restarted = new Set<string>();
  private changed = false;

  constructor(
    private readonly input: SetupInput,
    private readonly plan: SetupPlan,
    private readonly progress: Progress,
    private readonly saga: Saga,
  ) {}

  async run(): Promise<ChangeResult> {
    const { members, edges } = this.plan;
    await Promise.all(members.map((member) => this.exposeEndpoint(member)));
    await Promise.all(members.map((member) => this.configureServer(member)));
    await Promise.all(edges.map((edge) => this.relate(edge)));
    const facts = await this.step(this.plan.verify, () =>
      verifyMembers(
        this.plan.verify,
        this.input.federation,
        members.map((member) => member.facts.cluster),
      ),
    );
    const probes = await probeFederation(this.input, facts ?? [], this.plan.probe, this.progress, this.saga);
    return result(this.input, this.progress, this.plan, {
      planned: false,
      changed: this.changed,
      probes,
      members: members.map(({ facts: { cluster, trustDomain } }) => ({
        cluster,
        trustDomain,
        endpointUrl: this.url(cluster),
        fingerprint: this.bundles.get(cluster)?.fingerprint ?? '',
        restarted: this.restarted.has(cluster),
      })),
    });
  }

  /** Service and Route (or what stands for it), until the address is assigned. */
  private async exposeEndpoint({ facts, objects }: MemberPlan): Promise<void> {
    const { cluster } = facts;
    const { federation, timeouts } = this.input;
    await Promise.all(
      objects.map(({ step, object, before }) =>
        this.step(step, () => {
          const { name, namespace } = object.metadata;
          const reference = {
            apiVersion: object.apiVersion,
            kind: object.kind,
            metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
          };
          const title = `Restore ${object.kind} ${name} on ${cluster}`;
          this.saga.onUndo(STAGE.expose, cluster, title, () =>
            runUndo('restoreObject', title, {
              cluster,
              federation,
              reference,
              ...(before === undefined ? {} : { before }),
            }),
          );
          return runStep('applyObject', step, timeouts.attempts, { cluster, federation, object });
        }),
      ),
    );
    const known = facts.endpointUrl;
    const url =
      known ??
      (await this.saga.follow(
        runStep(
          'awaitEndpointUrl',
          { id: `awaitEndpointUrl/${cluster}`, title: `Read the address of the bundle endpoint of ${cluster}` },
          timeouts.attempts,
          {
            cluster,
            federation,
            timeoutMs: timeouts.endpointMs,
          },
        ),
      ));
    this.urls.set(cluster, url);
  }

  /** server.conf, one restart, and the proof that the endpoint is up and is who it should be. */
  private async configureServer({ facts, editServerConf, rolloutServer, readBundle }: MemberPlan): Promise<void> {
    const { cluster } = facts;
    const { federation, timeouts, refreshHintSeconds } = this.input;
    const changeId = workflowInfo().runId;
    const peers = this.plan.members
      .filter((member) => member.facts !== facts)
      .map((member) => ({ trustDomain: member.facts.trustDomain, endpointUrl: this.url(member.facts.cluster) }));
    const wanted = wantedFederation(facts, peers, this.input);
    if (editServerConf.action !== 'none' || rolloutServer.action !== 'none') {
      // One undo for both steps: the old configuration must be back before the server restarts.
      const title = `Restore server.conf and StatefulSet ${facts.server} on ${cluster}`;
      this.saga.onUndo(STAGE.configure, cluster, title, () =>
        runUndo('restoreServer', title, {
          cluster,
          federation,
          changeId,
          port: endpointPort(facts.serverConf),
          template: facts.statefulSet,
          timeoutMs: timeouts.rolloutMs,
        }),
      );
    }
    await this.step(editServerConf, () =>
      runStep('editServerConf', editServerConf, timeouts.attempts, { cluster, federation, changeId, wanted }),
    );
    const rollout = await this.step(rolloutServer, () =>
      runStep('rolloutServer', rolloutServer, timeouts.attempts, {
        cluster,
        federation,
        wanted,
        timeoutMs: timeouts.rolloutMs,
      }),
    );
    if (rollout?.changed === true) this.restarted.add(cluster);
    const bundle = await this.step(readBundle, () =>
      runStep('readBundle', readBundle, timeouts.attempts, {
        cluster,
        federation,
        endpointUrl: this.url(cluster),
        refreshHintSeconds,
        timeoutMs: timeouts.endpointMs,
      }),
    );
    if (bundle !== undefined) this.bundles.set(cluster, bundle);
  }

  /** One direction of trust: the relationship, and the bundle that must arrive through it. */
  private async relate({ trusting, trusted, applyRelationship, awaitBundle, before }: EdgePlan): Promise<void> {
    const { federation, timeouts, relationships, refreshHintSeconds } = this.input;
    const { cluster } = trusting;
    const { trustDomain } = trusted;
    const bundle = this.bundles.get(trusted.cluster)?.bundle ?? '';
    const relationship = wantedRelationship(trusting, trusted, this.url(trusted.cluster), federation);
    const title = `Restore the relationship with ${trustDomain} on ${cluster}`;
    this.saga.onUndo(STAGE.relate, cluster, title, () =>
      runUndo('removeRelationship', title, {
        cluster,
        federation,
        trustDomain,
        name: relationshipName(trustDomain),
        keepBundle: trusting.storedBundles[trustDomain] !== undefined,
        timeoutMs: timeouts.endpointMs,
        ...(before === undefined ? {} : { before }),
      }),
    );
    await this.step(applyRelationship, () =>
      runStep('applyRelationship', applyRelationship, timeouts.attempts, {
        cluster,
        federation,
        relationship,
        bundle,
      }),
    );
    await this.step(awaitBundle, () =>
      runStep('awaitBundle', awaitBundle, timeouts.attempts, {
        cluster,
        federation,
        trustDomain,
        bundle,
        relationship,
        relationships,
        refreshHintSeconds,
        peer: trusted.cluster,
        timeoutMs: timeouts.endpointMs,
      }),
    );
  }

  private url(cluster: string): string {
    return this.urls.get(cluster) ?? '';
  }

  /** Runs a step unless the plan found it done already; keeps the progress. */
  private async step<T>(step: PlannedStep, run: () => Promise<T>): Promise<T | undefined> {
    if (step.action === 'none') return undefined;
    this.progress.set(step.id, 'running');
    try {
      const outcome = await this.saga.follow(run());
      const { changed, note } = stepOutcome(outcome);
      this.changed ||= changed;
      this.progress.set(step.id, changed || step.action === 'check' ? 'done' : 'unchanged', note);
      return outcome;
    } catch (error) {
      this.progress.set(step.id, 'failed');
      throw error;
    }
  }
}

function stepOutcome(outcome: unknown): StepOutcome {
  if (typeof outcome === 'object' && outcome !== null && 'changed' in outcome) return outcome as StepOutcome;
  return { changed: false };
}
