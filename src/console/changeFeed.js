import { ApiError, events } from './session.js';

/** The changes of a federation, and the steps of those that run, as their events come in. */
export class ChangeFeed {
  changes = [];
  /** @type {Map<string, object>} by run ID */
  progress = new Map();
  /** @type {Map<string, AbortController>} */
  followed = new Map();

  /** @param {() => void} changed called whenever a step has moved on */
  constructor(changed) {
    this.changed = changed;
  }

  /**
   * Takes the changes as they were just listed, and follows those that run.
   * @param {string} at path of the federation, with a slash at its end
   * @param {{ runId: string, status: string }[]} changes
   */
  take(at, changes) {
    this.changes = changes;
    for (const { runId, status } of changes) {
      if (status === 'RUNNING' && !this.followed.has(runId)) void this.follow(at, runId);
    }
  }

  stop() {
    for (const following of this.followed.values()) following.abort();
    this.followed.clear();
    this.progress.clear();
    this.changes = [];
  }

  async follow(at, runId) {
    const following = new AbortController();
    this.followed.set(runId, following);
    try {
      for await (const { event, data } of events(`${at}changes/${runId}/events`, following.signal)) {
        if (event !== 'progress') continue;
        this.progress.set(runId, data);
        this.changed();
      }
    } catch (error) {
      // A stream that broke off is taken up again with the next list.
      if (!following.signal.aborted && !(error instanceof ApiError)) throw error;
    } finally {
      if (this.followed.get(runId) === following) this.followed.delete(runId);
    }
  }
}
