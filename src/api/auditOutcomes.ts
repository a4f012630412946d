import { z } from 'zod';
import type { FederatorClient } from '../client.js';
import { FederatorError } from '../contract/errors.js';
import { changeFederation } from '../contract/names.js';
import { auditRecordSchema, type AuditRecord } from './audit.js';

/** So many are asked for at the same time. */
const AT_ONCE = 20;
/** Ended changes that are kept at hand: how they ended does not change. */
const ENDED = 10_000;

export const auditedSchema = auditRecordSchema
  .extend({
    /** How the workflow is or ended, as Temporal names it; absent where Temporal does not know it any more, or is away. */
    outcome: z.object({ status: z.string(), endedAt: z.string().optional() }).optional(),
  })
  .meta({ id: 'AuditedRequest' });
type Audited = z.infer<typeof auditedSchema>;

/** What came of the changes that requests began. */
export class AuditOutcomes {
  private readonly ended = new Map<string, Audited['outcome']>();

  constructor(private readonly client: Pick<FederatorClient, 'describeChange' | 'clusterChange'>) {}

  /** The same records; they can be read also where Temporal does not answer. */
  async join(records: readonly AuditRecord[]): Promise<Audited[]> {
    const joined: Audited[] = [];
    let isAway = false;
    for (let at = 0; at < records.length; at += AT_ONCE) {
      const batch = records.slice(at, at + AT_ONCE);
      const outcomes: PromiseSettledResult<Audited['outcome']>[] = isAway
        ? []
        : await Promise.allSettled(batch.map((record) => this.outcome(record)));
      isAway ||= outcomes.some(({ status }) => status === 'rejected');
      for (const [index, record] of batch.entries()) {
        const asked = outcomes[index];
        const outcome = asked?.status === 'fulfilled' ? asked.value : undefined;
        joined.push({ ...record, ...(outcome === undefined ? {} : { outcome }) });
      }
    }
    return joined;
  }

  private async outcome({ workflowId, runId, cluster }: AuditRecord): Promise<Audited['outcome']> {
    if (workflowId === undefined || runId === undefined) return undefined;
    const known = this.ended.get(runId);
    if (known !== undefined) return known;
    const change = await this.change(changeFederation(workflowId), cluster, runId);
    if (change === undefined) return undefined;
    const { status, endedAt } = change;
    const outcome = { status, ...(endedAt === undefined ? {} : { endedAt }) };
    if (status !== 'RUNNING') this.keep(runId, outcome);
    return outcome;
  }

  private async change(federation: string | undefined, cluster: string | undefined, runId: string) {
    try {
      if (federation !== undefined) return await this.client.describeChange(federation, runId);
      return cluster === undefined ? undefined : await this.client.clusterChange(cluster, runId);
    } catch (error) {
      if (error instanceof FederatorError && error.type === 'NotFound') return undefined;
      throw error;
    }
  }

  private keep(runId: string, outcome: Audited['outcome']): void {
    this.ended.set(runId, outcome);
    const [oldest] = this.ended.keys();
    if (this.ended.size > ENDED && oldest !== undefined) this.ended.delete(oldest);
  }
}
