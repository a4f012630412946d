import type { ChangeDescription } from '../client.js';
import type { ApiContext } from './context.js';

/** What clusters say of themselves is good for so long: asking all of them takes a moment. */
const MEMBERS_MS = 5_000;

/**
 * Who is a member of what, asked of the clusters once for all who want to know at the same time, and again as soon as a
 * change began or ended.
 */
export class Members {
  private asked: { at: number; found: ReturnType<ApiContext['client']['federations']> } | undefined;
  private readonly changes = new Map<string, string>();

  constructor(private readonly client: ApiContext['client']) {}

  /** @param newest newest change of a federation, or with an empty name of all */
  all(federation: string, newest: ChangeDescription | undefined): ReturnType<ApiContext['client']['federations']> {
    if (newest !== undefined) {
      const change = `${newest.runId} ${newest.status}`;
      if (this.changes.get(federation) !== change) this.forget();
      this.changes.set(federation, change);
    }
    if (this.asked === undefined || Date.now() - this.asked.at > MEMBERS_MS) {
      const found = this.client.federations();
      this.asked = { at: Date.now(), found };
      found.catch(() => this.forget());
    }
    return this.asked.found;
  }

  /** Members of one; undefined where no cluster that could be asked belongs to it. */
  async of(federation: string, newest: ChangeDescription | undefined): Promise<string[] | undefined> {
    const { federations } = await this.all(federation, newest);
    return Object.hasOwn(federations, federation) ? federations[federation] : undefined;
  }

  forget(): void {
    this.asked = undefined;
  }
}
