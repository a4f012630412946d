import { setTimeout as delay } from 'node:timers/promises';
import type { ChangeHandle, FederatorClient } from '../client.js';
import { FederatorError } from '../contract/errors.js';
import { changeFederation } from '../contract/names.js';
import type { AuditLog, AuditOutcome, AuditRecord } from './audit.js';

/** So many are asked for at the same time. */
const AT_ONCE = 20;
/** A worker that is away for longer leaves the plan of what ended meanwhile to be read in Temporal. */
const PLAN_WITHIN_MS = 600_000;

type Client = Pick<FederatorClient, 'describeChange' | 'clusterChange' | 'changeBegunBy' | 'progress' | 'result'>;

/** What came of the changes that requests began: Temporal knows that for as long as it keeps them, the audit log for good. */
export class AuditOutcomes {
  constructor(
    private readonly client: Client,
    private readonly audit: Pick<AuditLog, 'add' | 'open'>,
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
      isAway ||= outcomes.some(({ status }) => status === 'rejected');
      for (const [index, record] of batch.entries()) {
        const asked = outcomes[index];
        const outcome = asked?.status === 'fulfilled' ? asked.value : undefined;
        joined.push({ ...record, ...(outcome === undefined ? {} : { outcome }) });
      }
    }
    return joined;
  }

  /**
   * Puts on record what has ended since the last time, and that Temporal does not know it any more.
   * @throws what Temporal or the audit log threw; the rest is left for the next time
   */
  async record(): Promise<void> {
    for (const record of await this.audit.open()) {
      const outcome = await this.outcome(record);
      if (outcome !== undefined && !isOver(outcome)) continue;
      const { at: _at, sequence, asked: _asked, ...about } = record;
      await this.audit.add({ ...about, ended: sequence, ...(outcome === undefined ? {} : { outcome }) });
    }
  }

  /** Does so for as long as the API runs. @param warn is told once of each reason for which it cannot */
  async keepRecording(everyMs: number, stop: AbortSignal, warn: (message: string) => void): Promise<void> {
    let told: string | undefined;
    while (!stop.aborted) {
      const failure = await this.record().then(
        () => undefined,
        (error: unknown) => (error as Error).message,
      );
      if (failure !== undefined && failure !== told) warn(`What came of changes is not on record yet: ${failure}`);
      told = failure;
      await delay(everyMs, undefined, { signal: stop }).catch(ignoreAbort);
    }
  }

  private async outcome({
    workflowId,
    runId,
    cluster,
    federation: joins,
  }: AuditRecord): Promise<AuditOutcome | undefined> {
    if (workflowId === undefined || runId === undefined) return undefined;
    const federation = changeFederation(workflowId);
    try {
      if (federation !== undefined) return await this.ofChange(federation, runId);
      return cluster === undefined ? undefined : await this.ofClusterChange(cluster, runId, joins);
    } catch (error) {
      if (error instanceof FederatorError && error.type === 'NotFound') return undefined;
      throw error;
    }
  }

  private async ofChange(federation: string, runId: string): Promise<AuditOutcome> {
    const change = await this.client.describeChange(federation, runId);
    const hasFailed = change.status !== 'RUNNING' && change.status !== 'COMPLETED';
    return outcomeOf(change, await this.plan(change), hasFailed ? await this.failure(change) : undefined);
  }

  private async ofClusterChange(cluster: string, runId: string, joins?: string): Promise<AuditOutcome | undefined> {
    const change = await this.client.clusterChange(cluster, runId);
    if (change === undefined) return undefined;
    const join = joins === undefined ? undefined : await this.client.changeBegunBy(joins, runId);
    return outcomeOf(change, join === undefined ? [] : await this.plan(join), change.error?.message);
  }

  private async plan(change: ChangeHandle): Promise<AuditOutcome['plan']> {
    const steps = (await this.client.progress(change))?.steps.filter(({ action }) => action !== 'none');
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
        if (error instanceof FederatorError) return error.message;
        throw error;
      },
    );
  }
}

function outcomeOf(
  { status, endedAt }: { status: string; endedAt?: string },
  plan: AuditOutcome['plan'],
  error: string | undefined,
): AuditOutcome {
  return {
    status,
    ...(endedAt === undefined ? {} : { endedAt }),
    ...(error === undefined ? {} : { error }),
    ...(plan === undefined ? {} : { plan }),
  };
}

/** Nothing more is to be learnt of it; a plan is asked for again for a while, as it takes a worker to tell it. */
function isOver({ status, endedAt, plan }: AuditOutcome): boolean {
  if (status === 'RUNNING') return false;
  return plan !== undefined || endedAt === undefined || Date.now() - Date.parse(endedAt) > PLAN_WITHIN_MS;
}

function ignoreAbort(error: unknown): void {
  if ((error as Error).name !== 'AbortError') throw error;
}
