import type { ChangeDescription, FederatorClient } from '../client.js';
import type { FoundFederations } from '../contract/onboarding.js';
import type { FoundPolicies } from '../contract/policies.js';
import { Shared } from './shared.js';

/** Asking all clusters is work for all of them: what they say of themselves is good for so long. */
const AGE = { freshMs: 10_000, usableMs: 20_000 };

/**
 * What the clusters say of themselves, asked of them once for all who want to know at the same time, and again as soon as a
 * change began or ended.
 */
export class Members {
  private readonly found: Shared<FoundFederations>;
  private readonly foundPolicies: Shared<FoundPolicies>;
  private readonly changes = new Map<string, string>();

  constructor(client: Pick<FederatorClient, 'federations' | 'policies'>) {
    this.found = new Shared(() => client.federations(), AGE);
    this.foundPolicies = new Shared((federation) => client.policies(federation), AGE);
  }

  /**
   * Who is a member of what.
   * @param recent newest changes of a federation, or with an empty name of all
   */
  all(federation: string, recent: readonly ChangeDescription[]): Promise<FoundFederations> {
    this.notice(federation, recent);
    return this.found.get('');
  }

  /** Members of one; undefined where no cluster that could be asked belongs to it. */
  async of(federation: string, recent: readonly ChangeDescription[]): Promise<string[] | undefined> {
    const { federations } = await this.all(federation, recent);
    return Object.hasOwn(federations, federation) ? federations[federation] : undefined;
  }

  /** Which workloads of its members federate. @throws FederatorError NotFound */
  policies(federation: string, recent: readonly ChangeDescription[]): Promise<FoundPolicies> {
    this.notice(federation, recent);
    return this.foundPolicies.get(federation);
  }

  forget(): void {
    this.found.forget();
    this.foundPolicies.forget();
  }

  private notice(federation: string, recent: readonly ChangeDescription[]): void {
    if (recent.length === 0) return;
    const states = recent.map(({ runId, status }) => `${runId} ${status}`).join();
    if (this.changes.get(federation) !== states) this.forget();
    this.changes.set(federation, states);
  }
}
