import { ApplicationFailure } from '@temporalio/workflow';
import { Limit } from './limit.js';

/** The restarts of one repair or removal: so many at a time, none after a server that did not come back. */
export class Restarts {
  private readonly turns: Limit;
  private lost: string | undefined;

  /** @param isFree whether no change runs that a restart would be in the way of */
  constructor(
    atOnce: number,
    private readonly isFree: () => Promise<boolean> = () => Promise.resolve(true),
  ) {
    this.turns = new Limit(atOnce);
  }

  /** Whether a server did not come back. */
  get failed(): boolean {
    return this.lost !== undefined;
  }

  /** @throws Error when it is not to be done now; what was to be done by it is found again */
  async run(work: () => Promise<void>): Promise<void> {
    return this.turns.run(async () => {
      if (this.lost !== undefined)
        throw ApplicationFailure.nonRetryable(
          `SPIRE server of ${this.lost} did not come back from its restart: no other one is restarted now.`,
          'SpireUnavailable',
        );
      if (!(await this.isFree()))
        throw new Error('A change of the federation has begun: what it leaves is found again.');
      await work();
    });
  }

  /** What ends with the server being ready again, within `run`. */
  async rollOut<T>(cluster: string, roll: () => Promise<T>): Promise<T> {
    try {
      return await roll();
    } catch (error) {
      this.lost = cluster;
      throw error;
    }
  }
}
