import type { ChangeDescription, FederatorClient } from '../client.js';
import type { FoundFederations } from '../contract/onboarding.js';
import type { FoundPolicies } from '../contract/policies.js';
import { Shared } from './shared.js';

/** Asking all clusters is work for all of them: what they say of themselves is good for so long. */
const AGE = { freshMs: 15_000, usableMs: 60_000 };

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
   * @param newest newest change of a federation, or with an empty name of all
   */
  all(federation: string, newest: ChangeDescription | undefined): Promise<FoundFederations> {
    this.notice(federation, newest);
    return this.found.get('');
  }

  /** Members of one; undefined where no cluster that could be asked belongs to it. */
  async of(federation: string, newest: ChangeDescription | undefined): Promise<string[] | undefined> {
    const { federations } = await this.all(federation, newest);
    return Object.hasOwn(federations, federation) ? federations[federation] : undefined;
  }

  /** Which workloads of its members federate. @throws FederatorError NotFound */
  policies(federation: string, newest: ChangeDescription | undefined): Promise<FoundPolicies> {
    this.notice(federation, newest);
    return this.foundPolicies.get(federation);
  }

  forget(): void {
    this.found.forget();
    this.foundPolicies.forget();
  }

  private notice(federation: string, newest: ChangeDescription | undefined): void {
    if (newest === undefined) return;
    const change = `${newest.runId} ${newest.status}`;
    if (this.changes.get(federation) !== change) this.forget();
    this.changes.set(federation, change);
  }
}
