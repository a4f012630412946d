import { Context } from '@temporalio/activity';
import type { MissingPiece } from '../contract/sysdump.js';
import type { DumpedText } from './dumpPacking.js';

/** What was collected so far; what could not be had is noted, and keeps nothing else from being had. */
export class Collected {
  readonly missing: MissingPiece[] = [];

  /** @returns what the work came to; undefined when it failed, which is noted */
  async have<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (Context.current().cancellationSignal.aborted) throw error;
      this.missing.push({ what, why: error instanceof Error ? error.message : String(error) });
      return undefined;
    }
  }

  /** As `have`, for a file of the report; none when there is nothing to write. */
  async file(path: string, work: () => Promise<string | undefined>, { isLog = false } = {}): Promise<DumpedText[]> {
    const text = await this.have(path, work);
    return text === undefined || text === '' ? [] : [{ path, text, isLog }];
  }
}
