import { Limit } from './limit.js';

/** The restarts of one repair: one at a time, none while a change runs, and none after a server that did not come back. */
export class Restarts {
  private readonly oneByOne = new Limit(1);
  private lost: string | undefined;

  constructor(private readonly isFree: () => Promise<boolean>) {}

  /** Whether a server did not come back. */
  get failed(): boolean {
    return this.lost !== undefined;
  }

  /** @throws Error when it is not to be done now; the fault is found again */
  async run(work: () => Promise<void>): Promise<void> {
    return this.oneByOne.run(async () => {
      if (this.lost !== undefined)
        throw new Error(
          `SPIRE server of ${this.lost} did not come back from its restart: no other one is restarted now.`,
        );
      if (!(await this.isFree()))
        throw new Error('A change of the federation has begun: what it leaves is found again.');
      await work();
    });
  }

  /** What ends with the server being ready again, within `run`. */
  async rollOut(cluster: string, roll: () => Promise<unknown>): Promise<void> {
    try {
      await roll();
    } catch (error) {
      this.lost = cluster;
      throw error;
    }
  }
}
