import { setTimeout as delay } from 'node:timers/promises';
import type { ChangeHandle, FederatorClient } from '../client.js';
import type { StepProgress } from '../contract/change.js';
import { FederatorError } from '../contract/errors.js';
import { federationOf, planOf } from '../contract/names.js';
import type { AuditLog, AuditOutcome, AuditRecord } from './audit.js';

/** So many are asked for at the same time. */
const AT_ONCE = 20;
/** From when its end was first seen: a worker that is away for longer leaves the plan to be read in Temporal. */
const PLAN_WITHIN_MS = 600_000;
/** Temporal lists what has begun, and ended, a moment later. */
const LISTED_WITHIN_MS = 10_000;

type Client = Pick<FederatorClient, 'describeChange' | 'clusterChange' | 'changeBegunBy' | 'progress' | 'result'>;

/** What came of the changes that requests began: Temporal knows that for as long as it keeps them, the audit log for good. */
export class AuditOutcomes {
  /** By the sequence of a record, when its workflow was first seen to have ended without its plan. */
  private readonly endedSince = new Map<number, number>();

  constructor(
    private readonly client: Client,
    private readonly audit: Pick<AuditLog, 'add' | 'pending'>,
  ) {}

  /** The same records, those that are not on record with what Temporal says; all can be read also where it does not answer. */
  async join(records: readonly AuditRecord[]): Promise<AuditRecord[]> {
    const joined: AuditRecord[] = [];
    let isAway = false;
    for (let at = 0; at < records.length; at += AT_ONCE) {
      const batch = records.slice(at, at + AT_ONCE);
      const outcomes: PromiseSettledResult<AuditOutcome | undefined>[] = isAway
        ? []
        : await Promise.allSettled(batch.map(async (record) => record.outcome ?? this.outcome(record)));
      isAway ||= outcomes.some((each) => each.status === 'rejected' && !isUnreadable(each.reason));
      for (const [index, record] of batch.entries()) {
        const asked = outcomes[index];
        const outcome = record.outcome ?? (asked?.status === 'fulfilled' ? asked.value : undefined);
        joined.push({ ...record, ...(outcome === undefined ? {} : { outcome }) });
      }
    }
    return joined;
  }

  /**
   * Puts on record what has ended since the last time, and that Temporal does not know it any more.
   * @throws the first of what Temporal or the audit log threw; these are left for the next time
   */
  async record(stop?: AbortSignal): Promise<void> {
    const failures: unknown[] = [];
    for (const record of await this.audit.pending()) {
      if (stop?.aborted === true) return;
      try {
        await this.recordOne(record);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Does so for as long as the API runs. @param warn is told once of each reason for which it cannot */
  async keepRecording(everyMs: number, stop: AbortSignal, warn: (message: string) => void): Promise<void> {
    let told: string | undefined;
    while (!stop.aborted) {
      const failure = await this.record(stop).then(
        () => undefined,
        (error: unknown) => (error as Error).message,
      );
      if (failure !== undefined && failure !== told && !stop.aborted)
        warn(`What came of changes is not on record yet: ${failure}`);
      told = failure;
      await delay(everyMs, undefined, { signal: stop }).catch(ignoreAbort);
    }
  }

  private async recordOne(record: AuditRecord): Promise<void> {
    const { at: _at, sequence, asked: _asked, ...about } = record;
    const outcome = (await this.outcome(record, 'onceEnded')) ?? { status: 'UNKNOWN' };
    if (!this.isTold(sequence, outcome)) return;
    this.endedSince.delete(sequence);
    await this.audit.add({ ...about, ended: sequence, outcome });
  }

  /** Nothing more is to be learnt of it; a plan is asked for again for a while, as it takes a worker to tell it. */
  private isTold(sequence: number, { status, endedAt, plan }: AuditOutcome): boolean {
    if (status === 'UNKNOWN') return true;
    if (endedAt === undefined) return false;
    if (plan !== undefined) return true;
    const since = this.endedSince.get(sequence) ?? Date.now();
    this.endedSince.set(sequence, since);
    return Date.now() - since > PLAN_WITHIN_MS;
  }

  /** @param plans which are asked for */
  private async outcome(
    { workflowId, runId, cluster }: AuditRecord,
    plans: 'all' | 'onceEnded' = 'all',
  ): Promise<AuditOutcome | undefined> {
    if (workflowId === undefined || runId === undefined) return undefined;
    const federation = federationOf(workflowId);
    try {
      if (federation !== undefined) return await this.ofChange(federation, planOf(workflowId) ?? runId, plans);
      return cluster === undefined ? undefined : await this.ofClusterChange(cluster, runId, plans);
    } catch (error) {
      if (error instanceof FederatorError && error.type === 'NotFound') return undefined;
      throw error;
    }
  }

  private async ofChange(federation: string, id: string, plans: 'all' | 'onceEnded'): Promise<AuditOutcome> {
    const change = await this.client.describeChange(federation, id);
    if (change.endedAt === undefined && plans === 'onceEnded') return outcomeOf(change);
    const plan = await this.plan(change);
    if (change.endedAt === undefined) return outcomeOf(change, plan);
    return outcomeOf(change, plan, change.status === 'COMPLETED' ? undefined : await this.failure(change));
  }

  private async ofClusterChange(
    cluster: string,
    runId: string,
    plans: 'all' | 'onceEnded',
  ): Promise<AuditOutcome | undefined> {
    const change = await this.client.clusterChange(cluster, runId);
    if (change === undefined) return undefined;
    const { endedAt, error } = change;
    // That it cannot be read is no outcome of it.
    if (error?.type === 'PayloadUnreadable') throw new FederatorError(error.type, error.message);
    if (endedAt === undefined && plans === 'onceEnded') return outcomeOf(change);
    const begun = await this.client.changeBegunBy(cluster, runId);
    if (begun !== undefined) {
      // It goes on to its end, or undoes what it did, also where somebody terminated what began it.
      const { endedAt: over } = await this.client.describeChange(begun.federation, begun.runId);
      const plan = over === undefined && plans === 'onceEnded' ? undefined : await this.plan(begun);
      return outcomeOf(change, plan, error?.message);
    }
    const isListed = endedAt !== undefined && Date.now() - Date.parse(endedAt) > LISTED_WITHIN_MS;
    return outcomeOf(change, isListed ? [] : undefined, error?.message);
  }

  private async plan(change: ChangeHandle): Promise<AuditOutcome['plan']> {
    const steps = (await this.client.progress(change))?.steps.filter(isTelling);
    return steps?.map(({ cluster, title, action, details, state }) => ({
      cluster,
      title,
      action,
      ...(details === undefined ? {} : { details }),
      state,
    }));
  }

  private async failure(change: ChangeHandle): Promise<string | undefined> {
    return this.client.result(change).then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof FederatorError && !isUnreadable(error)) return error.message;
        throw error;
      },
    );
  }
}

function isUnreadable(error: unknown): boolean {
  return error instanceof FederatorError && error.type === 'PayloadUnreadable';
}

/** What changes something, and the check that failed; of the others there are thousands in a large probe. */
function isTelling({ action, state }: StepProgress): boolean {
  return action !== 'none' && (action !== 'check' || state === 'failed');
}

function outcomeOf(
  { status, endedAt }: { status: string; endedAt?: string },
  plan?: AuditOutcome['plan'],
  error?: string,
): AuditOutcome {
  return {
    status,
    ...(endedAt === undefined ? {} : { endedAt }),
    ...(error === undefined ? {} : { error }),
    ...(plan === undefined ? {} : { plan }),
  };
}

function ignoreAbort(error: unknown): void {
  if ((error as Error).name !== 'AbortError') throw error;
}
