import { CancellationScope, isCancellation, workflowInfo } from '@temporalio/workflow';
import type { ReadBundleOutcome, WatchRequest } from '../contract/activities.js';
import type { ChangeResult, PlannedStep, ProbeSummary, SetupInput } from '../contract/change.js';
import type { ClusterFacts, RelationshipFacts } from '../contract/facts.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { controlStrategy } from '../federation/control.js';
import { planSetup, planSteps, type MemberPlan, type SetupPlan } from '../federation/plan.js';
import { CLUSTER_SPIFFE_ID } from '../federation/policy.js';
import { wantedRelationship } from '../federation/relationship.js';
import { asPeer, endpointPort, wantedFederation } from '../federation/serverConfPlan.js';
import { relationshipKind } from '../federation/settings.js';
import { fetchedUnasked } from '../federation/webProfile.js';
import { part, runStep, runUndo, type StepName } from './activities.js';
import { watchOver } from './engine.js';
import { changeFailure, preflightFailure, rootMessage } from './failure.js';
import { readAllFacts } from './facts.js';
import { Limit } from './limit.js';
import { probeFederation } from './probeFederation.js';
import { Progress, stepOutcome } from './progress.js';
import { rolloutRequest } from './rollout.js';
import { runSaga, type Saga } from './saga.js';
import { verifyMembers } from './verify.js';

/**
 * Undo order: relationships that were ended first, as the policies before name their trust domains; then policies, then
 * relationships and bundles, then server.conf, then what exposes the endpoint. Relationships of a server that did not
 * come back from its restart can be removed only when it runs again, with its old server.conf.
 */
const STAGE = { expose: 1, relateUnproven: 2, configure: 3, relate: 4, policies: 5, end: 6 } as const;

/**
 * Makes these clusters one federation: whatever they lack for it is made, what they have stays. Exposes the bundle
 * endpoints, configures the SPIRE servers and restarts them where that changed, exchanges the trust bundles through
 * authenticated channels, lets the policies take effect, and proves the result. Finishes, or leaves all as it was.
 * @param facts read when no repair was under way
 */
export async function setUp(
  input: SetupInput,
  facts: readonly ClusterFacts[],
  progress = new Progress(),
): Promise<ChangeResult> {
  const plan = planSetup(input, facts);
  if (plan.problems.length > 0) throw preflightFailure(plan.problems);
  progress.plan(planSteps(plan));
  if (input.planOnly) return result(input, progress, plan, { planned: true, changed: plan.changes });
  const outcome = await runSaga((saga) => new Setup(input, plan, progress, saga).run(), progress, changeFailure);
  const notes = await CancellationScope.nonCancellable(() =>
    Promise.all([forgetUndos(input, plan), watchOver(watchRequest(input, plan), input.timeouts)]),
  );
  return notes.flat().length === 0 ? outcome : { ...outcome, notes: notes.flat() };
}

function watchRequest(input: SetupInput, { members, policies }: SetupPlan): WatchRequest {
  const { federation, refreshHintSeconds, hub, repair, monitor } = input;
  return {
    federation,
    clusters: members.map(({ facts: { cluster } }) => cluster),
    refreshHintSeconds,
    policies,
    // One that runs has to know of another topology or member in any case.
    start: monitor === true,
    // An adoption may have left it as it was; now it is as it is to be.
    observeOnly: false,
    ...(hub === undefined ? {} : { hub }),
    ...(repair === undefined ? {} : { repair }),
  };
}

/** Past the point of no return, how to undo the change is forgotten. @returns what could not be tidied up */
async function forgetUndos({ federation, timeouts }: SetupInput, { members }: SetupPlan): Promise<string[]> {
  const changeId = workflowInfo().runId;
  const edited = members.filter(({ configureServer }) => configureServer.action !== 'none');
  const notes = await Promise.all(
    edited.map(async ({ facts: { cluster, control } }) => {
      const step = { id: `forgetUndo/${cluster}`, title: `Forget how to undo the change on ${cluster}` };
      try {
        await runStep('forgetUndo', step, timeouts.attempts, {
          cluster,
          federation,
          control: control.type,
          changeId,
        });
        return [];
      } catch (error) {
        return [
          `how to undo the change stays noted in an annotation on ${cluster}, which does no harm: ${rootMessage(error)}`,
        ];
      }
    }),
  );
  return notes.flat();
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
  /** Addresses of the bundle endpoints, once they are assigned. */
  private readonly urls = new Map<string, Promise<string>>();
  /** Own bundles, once the server runs with its settings and its endpoint serves them. */
  private readonly bundles = new Map<string, Promise<ReadBundleOutcome | undefined>>();
  /** Own bundles as peers are told of them, for some before their restart. */
  private readonly served = new Map<string, Promise<ReadBundleOutcome | undefined>>();
  private readonly restarted = new Set<string>();
  /** By cluster, the reading that saw the bundles of its peers; none where relationships ended since. */
  private readonly storedReadings = new Map<string, string>();
  /** Clusters whose SPIRE server may be down: its settings are being changed, and it has not served its bundle since. */
  private readonly unproven = new Set<string>();
  /** SPIRE servers that are members already, and are relied upon, restart so many at a time; undoing, too. */
  private readonly restarts: Limit;
  private changed = false;

  constructor(
    private readonly input: SetupInput,
    private readonly plan: SetupPlan,
    private readonly progress: Progress,
    private readonly saga: Saga,
  ) {
    this.restarts = new Limit(input.maxUnavailable);
  }

  async run(): Promise<ChangeResult> {
    const { members } = this.plan;
    // Each goes on as soon as what it needs is there: addresses of its peers, its own server, the bundles of its peers.
    for (const member of members) this.urls.set(member.facts.cluster, this.exposeEndpoint(member));
    for (const member of members) this.bundles.set(member.facts.cluster, this.configureServer(member));
    const related = members.map((member) => this.relate(member));
    await Promise.all([...this.urls.values(), ...this.bundles.values(), ...related]);
    const probes = members.some(({ obsolete }) => obsolete.length > 0)
      ? await this.proveThenGiveUp()
      : await this.prove(await this.verify());
    const summaries = members.map(async ({ facts: { cluster, trustDomain } }) => ({
      cluster,
      trustDomain,
      endpointUrl: await this.url(cluster),
      fingerprint: (await this.bundles.get(cluster))?.fingerprint ?? '',
      restarted: this.restarted.has(cluster),
    }));
    return result(this.input, this.progress, this.plan, {
      planned: false,
      changed: this.changed,
      probes,
      members: await Promise.all(summaries),
    });
  }

  /**
   * Nobody asks under an old address any more. What it was reached by goes last: a load balancer that is given up never
   * gets its address back.
   */
  private async proveThenGiveUp(): Promise<ProbeSummary[]> {
    const { members } = this.plan;
    const clusters = members.map(({ facts }) => facts.cluster);
    const probes = await this.prove(await readAllFacts(this.input.federation, clusters, [], 'once more'));
    await Promise.all(members.map((member) => this.removeObsolete(member)));
    await this.verify();
    return probes;
  }

  private async verify(): Promise<ClusterFacts[]> {
    const { federation, refreshHintSeconds, timeouts } = this.input;
    const { members, verify } = this.plan;
    const clusters = members.map(({ facts }) => facts.cluster);
    const waiting = { refreshHintSeconds, timeoutMs: timeouts.endpointMs };
    const verified = await this.step(verify, () =>
      verifyMembers(verify, federation, clusters, this.storedReadings, waiting),
    );
    return verified ?? [];
  }

  private async prove(facts: readonly ClusterFacts[]): Promise<ProbeSummary[]> {
    const [probes] = await Promise.all([
      probeFederation(this.input, facts, this.plan.probe, this.progress, this.saga),
      ...this.plan.members.map((member) => this.awaitRefreshes(member)),
    ]);
    return probes;
  }

  /** Service and Route (or what stands for it). @returns the address, once it is assigned */
  private async exposeEndpoint({ facts, objects }: MemberPlan): Promise<string> {
    const { cluster } = facts;
    const { federation, timeouts } = this.input;
    await Promise.all(
      objects.map(({ step, object, before }) =>
        this.step(step, () => {
          const reference = referenceOf(object);
          const title = `Restore ${object.kind} ${object.metadata.name} on ${cluster}`;
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
    const known = objects.every(({ step }) => step.action === 'none') ? facts.endpointUrl : undefined;
    if (known !== undefined) return known;
    return this.saga.follow(
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
    );
  }

  /** server.conf, one restart, and the proof that the endpoint is up and is who it should be. */
  private async configureServer(member: MemberPlan): Promise<ReadBundleOutcome | undefined> {
    const { facts, newcomer, peers, configureServer: configure, rolloutServer, readBundle } = member;
    const { cluster } = facts;
    const control = facts.control.type;
    const { federation, timeouts } = this.input;
    const changeId = workflowInfo().runId;
    // With dynamic relationships server.conf names no peers, and none has to be waited for.
    const isStatic = relationshipKind(facts, this.input.relationships) === 'static';
    const known = peers.map(async (peer) => asPeer(facts, peer, isStatic ? await this.url(peer.cluster) : ''));
    const wanted = wantedFederation(facts, await Promise.all(known), this.input);
    const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
      if (newcomer) return work();
      // Needed in the end: no turn is spent on waiting for it.
      await this.url(cluster);
      return this.restarts.run(work);
    };
    const read = async () => {
      const bundle = await this.step(readBundle, () => this.readBundle(cluster, readBundle));
      this.unproven.delete(cluster);
      return bundle;
    };
    if (!mayRestart(member)) return read();
    // One undo for both steps: the old configuration must be back before the server restarts.
    const strategy = controlStrategy(facts);
    const { title } = strategy.teardown(facts);
    const irrevocable = strategy.irrevocable(facts);
    const fetched = fetchedUnasked(wanted.federatesWith).filter((each) => facts.storedBundles[each] === undefined);
    const before = {
      cluster,
      federation,
      control,
      changeId,
      port: endpointPort(facts),
      template: facts.statefulSet,
      ...(irrevocable === undefined ? {} : { stays: irrevocable }),
      timeoutMs: timeouts.rolloutMs,
    };
    this.saga.onUndo(STAGE.configure, cluster, title, async () => {
      const outcome = await runUndo('restoreServer', title, before, newcomer ? undefined : this.restarts);
      if (fetched.length > 0) {
        await runUndo('deleteBundles', `${title} (bundles)`, { cluster, federation, trustDomains: fetched });
      }
      return outcome;
    });
    return inTurn(async () => {
      this.unproven.add(cluster);
      const edited = await this.step(configure, () =>
        runStep('configureServer', configure, timeouts.attempts, { cluster, federation, control, changeId, wanted }),
      );
      const rollout = await this.step(rolloutServer, () =>
        runStep(
          'rolloutServer',
          rolloutServer,
          timeouts.attempts,
          rolloutRequest(facts, rolloutServer, edited, { federation, wanted, timeoutMs: timeouts.rolloutMs }),
        ),
      );
      if (rollout?.changed === true) this.restarted.add(cluster);
      // The next one restarts when this one serves its bundle again.
      return read();
    });
  }

  /** The bundle of a cluster, and that its endpoint serves it. */
  private async readBundle(cluster: string, step: StepName): Promise<ReadBundleOutcome> {
    const { federation, timeouts, refreshHintSeconds } = this.input;
    const endpointUrl = await this.url(cluster);
    return runStep('readBundle', step, timeouts.attempts, {
      cluster,
      federation,
      endpointUrl,
      refreshHintSeconds,
      timeoutMs: timeouts.endpointMs,
    });
  }

  /** The bundle by which others come to trust a cluster, as soon as its endpoint serves it: often before its restart. */
  private servedBundle(cluster: string): Promise<ReadBundleOutcome | undefined> {
    const served = this.served.get(cluster) ?? this.readServed(cluster);
    this.served.set(cluster, served);
    return served;
  }

  private async readServed(cluster: string): Promise<ReadBundleOutcome | undefined> {
    const own = this.bundles.get(cluster);
    const member = this.plan.members.find(({ facts }) => facts.cluster === cluster);
    if (member === undefined || !member.serving || !mayRestart(member)) return own;
    try {
      return await this.saga.follow(this.readBundle(cluster, part(member.readBundle, 'before its restart')));
    } catch (error) {
      if (isCancellation(error)) throw error;
      // What is wrong with its endpoint may be what its restart mends.
      return own;
    }
  }

  /**
   * Trust in the peers: the relationships, the bundles that must arrive through them, then the policies that name them.
   * The relationships are applied while servers restart, the own one too: they need nothing but the peers' bundles.
   */
  private async relate(member: MemberPlan): Promise<void> {
    const { facts, edges, applyRelationships, awaitBundles } = member;
    const { federation, timeouts, refreshHintSeconds } = this.input;
    const { cluster } = facts;
    const own = this.bundles.get(cluster);
    const arriving = await Promise.all(
      edges.map(async (edge) => ({ ...edge, relationship: await this.relationship(facts, edge.trusted) })),
    );
    const written = arriving.filter(({ action }) => action !== 'none');
    if (written.length === 0) await own;
    const relationships = await Promise.all(
      written.map(async ({ relationship, trusted }) => ({
        relationship,
        bundle: (await this.servedBundle(trusted.cluster))?.bundle ?? '',
      })),
    );
    if (arriving.length > 0) {
      const title = `Restore the relationships of ${cluster}`;
      const stage = () => (this.unproven.has(cluster) ? STAGE.relateUnproven : STAGE.relate);
      this.saga.onUndo(stage, cluster, title, () =>
        runUndo('removeRelationships', title, {
          cluster,
          federation,
          relationships: arriving.map(({ trusted, relationship, before }) => ({
            trustDomain: trusted.trustDomain,
            name: relationship.name,
            keepBundle: facts.storedBundles[trusted.trustDomain] !== undefined,
            ...(before === undefined ? {} : { before }),
          })),
          timeoutMs: timeouts.endpointMs,
        }),
      );
    }
    const applied = this.step(applyRelationships, () =>
      runStep('applyRelationships', applyRelationships, timeouts.attempts, { cluster, federation, relationships }),
    );
    await Promise.all([own, applied]);
    const peers = await Promise.all(
      arriving.map(async ({ trusted, relationship }) => ({
        cluster: trusted.cluster,
        relationship,
        keyIds: (await this.bundles.get(trusted.cluster))?.keyIds ?? [],
      })),
    );
    const arrived = await this.step(awaitBundles, () =>
      runStep('awaitBundles', awaitBundles, timeouts.attempts, {
        cluster,
        federation,
        peers,
        relationships: relationshipKind(facts, this.input.relationships),
        appliedBeforeRestart: mayRestart(member),
        refreshHintSeconds,
        timeoutMs: timeouts.endpointMs,
      }),
    );
    await this.applyPolicies(member);
    await this.endRelationships(member);
    if (arrived?.storedReading !== undefined && member.ending.edges.length === 0) {
      this.storedReadings.set(cluster, arrived.storedReading);
    }
  }

  /** Only now: SPIRE refuses an entry whole that names a trust domain whose bundle is not stored. */
  private async applyPolicies({ facts, policies }: MemberPlan): Promise<void> {
    const { cluster } = facts;
    const { federation, timeouts } = this.input;
    for (const { name, before } of [
      ...policies.objects.map(({ object, before: was }) => ({ name: object.metadata.name, before: was })),
      ...policies.removed,
    ]) {
      const title = `Restore ClusterSPIFFEID ${name} on ${cluster}`;
      this.saga.onUndo(STAGE.policies, cluster, title, () =>
        runUndo('restoreObject', title, {
          cluster,
          federation,
          reference: { ...CLUSTER_SPIFFE_ID, metadata: { name } },
          ...(before === undefined ? {} : { before }),
        }),
      );
    }
    await this.step(policies.apply, () =>
      runStep('applyPolicies', policies.apply, timeouts.attempts, {
        cluster,
        federation,
        apply: policies.objects.map(({ object }) => object),
        remove: policies.removed.map(({ name }) => name),
      }),
    );
    await this.step(policies.await, () =>
      runStep('awaitPolicies', policies.await, timeouts.attempts, {
        cluster,
        federation,
        names: policies.objects.map(({ object }) => object.metadata.name),
        withdrawn: [],
        timeoutMs: timeouts.endpointMs,
      }),
    );
  }

  /** What the topology does without, once no policy asks for it. Undone with the peers' bundles as they are now. */
  private async endRelationships({ facts: { cluster }, ending: { step, edges } }: MemberPlan): Promise<void> {
    const { federation, timeouts, refreshHintSeconds } = this.input;
    const ended = await Promise.all(
      edges.map(async (edge) => ({ ...edge, bundle: await this.bundles.get(edge.trusted.cluster) })),
    );
    if (ended.length > 0) {
      const title = `Restore the relationships that ${cluster} had`;
      this.saga.onUndo(STAGE.end, cluster, title, async () => {
        await runUndo('applyRelationships', title, {
          cluster,
          federation,
          relationships: ended.map(({ before, bundle }) => ({ relationship: before, bundle: bundle?.bundle ?? '' })),
        });
        return runUndo('awaitBundles', `${title} (bundles)`, {
          cluster,
          federation,
          peers: ended.map(({ trusted, before, bundle }) => ({
            cluster: trusted.cluster,
            relationship: before,
            keyIds: bundle?.keyIds ?? [],
          })),
          // The bundle comes with the relationship: a peer that is away is not waited for.
          relationships: 'dynamic',
          refreshHintSeconds,
          timeoutMs: timeouts.endpointMs,
        });
      });
    }
    await this.step(step, async () => {
      await runStep('awaitPolicies', part(step, 'entries'), timeouts.attempts, {
        cluster,
        federation,
        names: [],
        withdrawn: ended.filter(({ removed }) => !removed.keepBundle).map(({ before }) => before.trustDomain),
        timeoutMs: timeouts.endpointMs,
      });
      return runStep('removeRelationships', step, timeouts.attempts, {
        cluster,
        federation,
        relationships: ended.map(({ removed }) => removed),
        timeoutMs: timeouts.endpointMs,
      });
    });
  }

  private async removeObsolete({ facts: { cluster }, obsolete }: MemberPlan): Promise<void> {
    const { federation, timeouts } = this.input;
    await Promise.all(
      obsolete.map(({ step, before, after }) =>
        this.step(step, () => {
          const title = `Restore ${before.kind} ${before.metadata.name} on ${cluster}`;
          const reference = referenceOf(before);
          this.saga.onUndo(STAGE.expose, cluster, title, () =>
            runUndo('restoreObject', title, { cluster, federation, reference, before }),
          );
          return after === undefined
            ? runStep('restoreObject', step, timeouts.attempts, { cluster, federation, reference })
            : runStep('applyObject', step, timeouts.attempts, { cluster, federation, object: after });
        }),
      ),
    );
  }

  private async awaitRefreshes({ facts: { cluster }, edges, awaitRefreshes }: MemberPlan): Promise<void> {
    const { federation, timeouts } = this.input;
    await this.step(awaitRefreshes, () =>
      runStep('awaitRefreshes', awaitRefreshes, timeouts.attempts, {
        cluster,
        federation,
        trustDomains: edges.map(({ trusted }) => trusted.trustDomain),
        timeoutMs: timeouts.endpointMs,
      }),
    );
  }

  private async relationship(trusting: ClusterFacts, trusted: ClusterFacts): Promise<RelationshipFacts> {
    const { federation } = this.input;
    const hub = this.plan.members.find(({ facts }) => facts.cluster === this.input.hub)?.facts.trustDomain;
    return wantedRelationship(trusting, trusted, await this.url(trusted.cluster), { federation, hub });
  }

  private async url(cluster: string): Promise<string> {
    return (await this.urls.get(cluster)) ?? '';
  }

  private async step<T>(step: PlannedStep, run: () => Promise<T>): Promise<T | undefined> {
    const outcome = await this.progress.follow(step, () => this.saga.follow(run()));
    this.changed ||= stepOutcome(outcome).changed;
    return outcome;
  }
}

/** Whether a member's server restarts, or has to be looked at for that. */
function mayRestart({ configureServer, rolloutServer }: MemberPlan): boolean {
  return configureServer.action !== 'none' || rolloutServer.action !== 'none';
}

function referenceOf({ apiVersion, kind, metadata: { name, namespace } }: KubernetesObject) {
  return { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
}
