import { isCancellation } from '@temporalio/workflow';
import type { ReadBundleOutcome } from '../contract/activities.js';
import type { ClusterFacts, Problem } from '../contract/facts.js';
import { findingId, type Finding, type RepairRecord } from '../contract/health.js';
import type { KnownMember, MemberToMend, RepairInput } from '../contract/monitor.js';
import { DEFAULT_REFRESH_HINT_SECONDS, edgeName } from '../contract/names.js';
import { durationSeconds } from '../contract/serverConf.js';
import type { Check } from '../contract/verify.js';
import { diagnoseFederation } from '../federation/diagnosis.js';
import { planSetup, type MemberPlan } from '../federation/plan.js';
import { absentMembers, planMending, type Mending } from '../federation/mending.js';
import { policiesOf } from '../federation/policy.js';
import { RESTART_ALONE } from '../federation/repairPolicy.js';
import { wantedRelationship } from '../federation/relationship.js';
import { asPeer, wantedFederation } from '../federation/serverConfPlan.js';
import {
  confirmedTopology,
  relationshipKind,
  resolveSettings,
  trusts,
  type FederationSettings,
} from '../federation/settings.js';
import { runCheck, runMending } from './activities.js';
import { rootMessage } from './failure.js';
import { Restarts } from './restarts.js';
import { rolloutRequest } from './rollout.js';
import { observeMembers } from './verify.js';

/** What is mended by settings that name all members. */
const NAMING_ALL: ReadonlySet<string> = new Set(['server-conf', 'spire-server', 'port', 'policy']);
/** A restarted SPIRE server must be ready within this. */
const ROLLOUT_MS = 120_000;
/** A bundle must have arrived within this; what takes longer is a matter of the network, and tried again later. */
const ARRIVAL_MS = 20_000;

/**
 * Mends findings, the causes first: servers that do not run, then pollers that do not poll, then whatever differs from
 * what a setup would make. Each by itself, so that one that cannot be mended is in nobody's way.
 * @param isFree asked before everything that restarts a server: whether no change has begun meanwhile
 */
export async function mend(input: RepairInput, isFree: () => Promise<boolean>): Promise<RepairRecord[]> {
  const startedAt = Date.now();
  const tried: Tried = { worked: new Set(), failures: new Map() };
  const attempt: Attempt = async (findings, work) => {
    try {
      if ((await work()) === NOTHING_DONE) return;
      for (const finding of findings) tried.worked.add(findingId(finding));
    } catch (error) {
      if (isCancellation(error)) throw error;
      for (const finding of findings) tried.failures.set(findingId(finding), rootMessage(error));
    }
  };
  const { federation, findings } = input;
  const of = (action: Finding['action']) => findings.filter((finding) => finding.action === action);
  await Promise.all(
    of('restoreServerConf').map((finding) =>
      attempt([finding], () => {
        const cluster = finding.scope;
        const title = `Put back the federation settings that SPIRE server of ${cluster} last ran well with`;
        return runMending('restoreGoodServerConf', title, { cluster, federation, timeoutMs: ROLLOUT_MS });
      }),
    ),
  );
  const stalled = of('restart').filter(({ check }) => RESTART_ALONE[check] !== undefined);
  const restarts = new Restarts(1, isFree);
  for (const cluster of new Set(stalled.map(trustingSide))) {
    // Where one does not come back, others may not either.
    if (restarts.failed || !(await isFree())) break;
    const own = stalled.filter((finding) => trustingSide(finding) === cluster);
    const endpointUrl = input.members.find((member) => member.cluster === cluster)?.endpointUrl;
    await attempt(own, async () => {
      const why = own.map(({ check }) => RESTART_ALONE[check]).find((each) => each !== undefined);
      await restarts.rollOut(cluster, () =>
        runMending('restartServer', `Restart SPIRE server of ${cluster}, which ${why}`, {
          cluster,
          federation,
          timeoutMs: ROLLOUT_MS,
        }),
      );
      await runMending('readBundle', `See that the endpoint of ${cluster} serves its trust bundle`, {
        cluster,
        federation,
        refreshHintSeconds: DEFAULT_REFRESH_HINT_SECONDS,
        timeoutMs: ARRIVAL_MS,
        ...(endpointUrl === undefined ? {} : { endpointUrl }),
      });
    });
  }
  const rest = findings.filter(
    (finding) => finding.action !== undefined && finding.action !== 'restoreServerConf' && !stalled.includes(finding),
  );
  if (rest.length > 0 && (await isFree())) await attempt(rest, () => mendDifferences(input, rest, restarts, attempt));
  return judge(input, tried, startedAt);
}

/** What was done about findings, by their ids. */
interface Tried {
  worked: Set<string>;
  /** The messages of what went wrong. */
  failures: Map<string, string>;
}

const NOTHING_DONE = Symbol('nothing done');
/** Does something about findings, and notes that, or why it did not work. */
type Attempt = (findings: readonly Finding[], work: () => Promise<unknown>) => Promise<void>;

/** Whatever differs from what a setup of these members would make, as far as the findings ask for it. */
async function mendDifferences(
  { federation, members, topology, hub, refreshHintSeconds, policies: known }: RepairInput,
  findings: readonly Finding[],
  restarts: Restarts,
  attempt: Attempt,
): Promise<typeof NOTHING_DONE> {
  const read = await readable(federation, members);
  // What exposes an endpoint may be just what is gone: its address is the one that everybody knew.
  const facts = read.map((each) => {
    const endpointUrl = each.endpointUrl ?? members.find(({ cluster }) => cluster === each.cluster)?.endpointUrl;
    return endpointUrl === undefined ? each : { ...each, endpointUrl };
  });
  // What the members have counts; where all of them lost it, what they had.
  const hasHint = facts.some(({ serverConf }) => durationSeconds(serverConf.bundleEndpoint?.refreshHint) !== undefined);
  const asked = {
    ...confirmedTopology(federation, facts, { topology, hub }),
    ...(hasHint ? {} : { refreshHintSeconds }),
  };
  const settings = resolveSettings(asked, federation, facts, refreshHintSeconds);
  const absent = absentMembers(members, facts);
  const policies = policiesOf(federation, facts, known);
  // A member of which nobody knows the trust domain would be taken out of the settings of all others.
  const unknown = members.filter(
    ({ cluster, trustDomain }) => trustDomain === undefined && !facts.some((each) => each.cluster === cluster),
  );
  const plan = planSetup({ federation, ...settings, policies, probe: false, absent }, facts);
  const mendings = planMending(plan, findings);
  await Promise.all(
    mendings.map((mending) =>
      attempt(mending.findings, () =>
        new MemberMending(federation, settings, plan.members, mending, absent, unknown).run(restarts),
      ),
    ),
  );
  // What is done, and about which of them, each of these says itself.
  return NOTHING_DONE;
}

class MemberMending {
  constructor(
    private readonly federation: string,
    private readonly settings: FederationSettings,
    private readonly members: readonly MemberPlan[],
    private readonly mending: Mending,
    private readonly absent: ReturnType<typeof absentMembers>,
    /** Members whose trust domain is not known: as long as there are any, what names all members stays as it is. */
    private readonly unknown: readonly KnownMember[],
  ) {}

  async run(restarts: Restarts): Promise<typeof NOTHING_DONE | undefined> {
    const { member, problems } = this.mending;
    if (problems.length > 0) throw new Error(problems.join(' '));
    const { cluster } = member.facts;
    const { federation } = this;
    const objects = member.objects.filter(({ step }) => isToDo(step));
    const isWhole = this.unknown.length === 0;
    const restarting = isWhole && (isToDo(member.configureServer) || isToDo(member.rolloutServer));
    const governing = isWhole && isToDo(member.policies.apply);
    await Promise.all(
      objects.map(({ step, object }) => runMending('applyObject', step.title, { cluster, federation, object })),
    );
    if (restarting) await restarts.run(() => this.restart(member, restarts));
    const related = await this.relate(member, restarting);
    if (governing) {
      await runMending('applyPolicies', member.policies.apply.title, {
        cluster,
        federation,
        apply: member.policies.objects.map(({ object }) => object),
        remove: member.policies.removed.map(({ name }) => name),
      });
    }
    if (!isWhole && this.mending.findings.some(({ check }) => NAMING_ALL.has(check))) {
      const names = this.unknown.map((each) => each.cluster).join(', ');
      throw new Error(
        `What is wrong on ${cluster} names all members, and of ${names} not even the trust domain is known: it stays as it is until that can be read.`,
      );
    }
    return objects.length > 0 || restarting || related || governing ? undefined : NOTHING_DONE;
  }

  private async restart(
    { facts, peers, configureServer, rolloutServer }: MemberPlan,
    restarts: Restarts,
  ): Promise<void> {
    const {
      cluster,
      control: { type: control },
    } = facts;
    const { federation } = this;
    const absent = this.absent.filter((each) => trusts(this.settings.hub, cluster, each.cluster));
    const known = [...peers, ...absent];
    const addresses = await Promise.all(known.map((peer) => this.addressOf(peer)));
    const wanted = wantedFederation(
      facts,
      known.map((peer, index) => asPeer(facts, peer, addresses[index] ?? '')),
      this.settings,
    );
    const edited = isToDo(configureServer)
      ? await runMending('configureServer', configureServer.title, { cluster, federation, control, wanted })
      : undefined;
    await restarts.rollOut(cluster, () =>
      runMending(
        'rolloutServer',
        rolloutServer.title,
        rolloutRequest(facts, rolloutServer, edited, { federation, wanted, timeoutMs: ROLLOUT_MS }),
      ),
    );
    if (facts.endpointUrl === undefined) return;
    await runMending('readBundle', `See that the endpoint of ${cluster} serves its trust bundle`, {
      cluster,
      federation,
      endpointUrl: facts.endpointUrl,
      refreshHintSeconds: this.settings.refreshHintSeconds,
      timeoutMs: ARRIVAL_MS,
    });
  }

  /** A server.conf without the address of a peer keeps SPIRE from starting: what exposes that one has to come first. */
  private async addressOf({ cluster, endpointUrl }: { cluster: string; endpointUrl?: string }): Promise<string> {
    if (endpointUrl !== undefined) return endpointUrl;
    const title = `Wait until the bundle endpoint of ${cluster} has an address`;
    const { federation } = this;
    return runMending('awaitEndpointUrl', title, { cluster, federation, timeoutMs: ARRIVAL_MS });
  }

  /** @returns whether there was anything to do */
  private async relate(
    { facts, applyRelationships, awaitBundles }: MemberPlan,
    hasRestarted: boolean,
  ): Promise<boolean> {
    const { cluster } = facts;
    const { federation, settings } = this;
    // Where nobody ever knew the address of a peer, there is nothing to be written yet.
    const edges = this.mending.edges.filter(({ trusted }) => trusted.endpointUrl !== undefined);
    if (edges.length === 0) return false;
    const hub = this.members.find((each) => each.facts.cluster === settings.hub)?.facts.trustDomain;
    const arriving = await Promise.all(
      edges.map(async (edge) => ({
        edge,
        bundle: await this.bundle(edge.trusted),
        relationship: wantedRelationship(facts, edge.trusted, edge.trusted.endpointUrl ?? '', { federation, hub }),
      })),
    );
    const written = arriving.filter(({ edge }) => isToDo(edge));
    if (written.length > 0) {
      await runMending('applyRelationships', applyRelationships.title, {
        cluster,
        federation,
        relationships: written.map(({ relationship, bundle }) => ({ relationship, bundle: bundle.bundle })),
      });
    }
    await runMending('awaitBundles', awaitBundles.title, {
      cluster,
      federation,
      peers: arriving.map(({ edge, relationship, bundle }) => ({
        cluster: edge.trusted.cluster,
        relationship,
        keyIds: bundle.keyIds,
        managed: !isToDo(edge) && !hasRestarted && !this.isMissing(edgeName(cluster, edge.trusted.cluster)),
      })),
      relationships: relationshipKind(facts, settings.relationships),
      refreshHintSeconds: settings.refreshHintSeconds,
      timeoutMs: ARRIVAL_MS,
      rebootstrapAfterMs: 0,
    });
    return true;
  }

  /** Whether SPIRE server has no such relationship, whatever the object says. */
  private isMissing(edge: string): boolean {
    return this.mending.findings.some(({ check, scope }) => check === 'relationshipMissing' && scope === edge);
  }

  /** The peer's own words through its own Kubernetes API: its endpoint may be just what does not work. */
  private bundle({ cluster }: ClusterFacts): Promise<ReadBundleOutcome> {
    return runMending('readBundle', `Read the trust bundle of ${cluster}`, {
      cluster,
      federation: this.federation,
      refreshHintSeconds: this.settings.refreshHintSeconds,
      timeoutMs: ARRIVAL_MS,
    });
  }
}

/** Looks again, and says of every finding what was done about it and what is to be seen now. */
async function judge(
  { federation, members, findings, policies, ...told }: RepairInput,
  { worked, failures }: Tried,
  startedAt: number,
): Promise<RepairRecord[]> {
  const clusters = members.map(({ cluster }) => cluster);
  const after = diagnoseFederation(
    federation,
    await observeMembers({ id: 'after', title: 'Look again' }, federation, clusters, unreadOf(members), members),
    policies,
    told,
  );
  const durationMs = Date.now() - startedAt;
  return findings.map((finding): RepairRecord => {
    const id = findingId(finding);
    const checks = after.checks.filter(({ scope }) => scope === finding.scope);
    const seen = judgeFinding(finding, checks, worked.has(id));
    const failure = failures.get(id);
    const { outcome, evidenceAfter } =
      failure === undefined ? seen : { outcome: 'failed' as const, evidenceAfter: failure };
    return {
      findingId: id,
      check: finding.check,
      scope: finding.scope,
      cause: finding.check,
      action: finding.action ?? 'none',
      evidenceBefore: finding.evidence,
      evidenceAfter,
      outcome,
      startedAt,
      durationMs,
    };
  });
}

/** What a finding came to, by the checks of its scope: healed is what is seen to be well, after something was done. */
function judgeFinding(
  { check, scope }: Finding,
  checks: readonly Check[],
  worked: boolean,
): Pick<RepairRecord, 'outcome' | 'evidenceAfter'> {
  const words = (each: readonly Check[]) => each.map(({ name, evidence }) => `${name}: ${evidence}`).join('; ');
  // What else is wrong there is a finding of its own, and so is what somebody else made.
  const mended = checks.filter(({ foreign }) => foreign !== true);
  const own = mended.filter(({ name }) => name === check);
  const still = (own.length > 0 ? own : mended).filter(({ verdict }) => verdict === 'failed');
  if (still.length > 0) return { outcome: 'failed', evidenceAfter: words(still) };
  const unknown = checks.filter(({ verdict }) => verdict === 'unknown');
  if (unknown.length > 0 || checks.length === 0) {
    const why = words(unknown) || `there is no check of ${scope} any more`;
    return { outcome: 'failed', evidenceAfter: `whether it is mended could not be told: ${why}` };
  }
  // What was wrong comes first: it is all that a narrow terminal has room for.
  if (worked)
    return { outcome: 'healed', evidenceAfter: words([...own, ...checks.filter((each) => !own.includes(each))]) };
  return own.length > 0
    ? { outcome: 'passed', evidenceAfter: `nothing had to be done: ${words(own)}` }
    : { outcome: 'failed', evidenceAfter: 'nothing was done about it: a change began, or there was nothing to do' };
}

/** Members that can be read. One that says to be of another trust domain than it is known by is not: its peers keep it. */
async function readable(federation: string, members: readonly MemberToMend[]): Promise<ClusterFacts[]> {
  const read = await Promise.all(
    members.map(async ({ cluster, trustDomain, unread }) => {
      if (unread !== undefined) return undefined;
      const { facts } = await runCheck('readFacts', `Read ${cluster}`, { cluster, federation });
      return facts?.trustDomain === (trustDomain ?? facts?.trustDomain) ? facts : undefined;
    }),
  );
  return read.filter((facts) => facts !== undefined);
}

function unreadOf(members: readonly MemberToMend[]): Problem[] {
  return members.flatMap(({ unread }) => unread ?? []);
}

function isToDo({ action }: { action: string }): boolean {
  return action !== 'none' && action !== 'check';
}

function trustingSide({ scope }: Finding): string {
  return scope.split('←')[0] ?? scope;
}
