import { appendFile, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { FederatorError } from '../contract/errors.js';

export const auditRecordSchema = z
  .object({
    /** ISO 8601. */
    at: z.string(),
    /** Ascending; the cursor of a page. */
    sequence: z.number().int(),
    who: z.string(),
    /** What was asked for: "addCluster", "onboardCluster", "approve" … */
    action: z.string(),
    federation: z.string().optional(),
    cluster: z.string().optional(),
    /** The request without credentials. */
    input: z.unknown(),
    /** HTTP status that the request got. */
    status: z.number().int(),
    /** The workflow that does it: its state is the outcome. */
    workflowId: z.string().optional(),
    runId: z.string().optional(),
    link: z.string().optional(),
    detail: z.string().optional(),
  })
  .meta({ id: 'AuditRecord' });
export type AuditRecord = z.infer<typeof auditRecordSchema>;

/** Who asked for what, a line of JSON each, only ever added to. */
export class AuditLog {
  private records: AuditRecord[] | undefined;
  private writing: Promise<unknown> = Promise.resolve();

  constructor(private readonly file: string) {}

  /** Written before the answer is sent. @throws FederatorError StoreUnavailable */
  async add(record: Omit<AuditRecord, 'at' | 'sequence'>): Promise<void> {
    const write = this.writing.then(async () => {
      const records = await this.all();
      const complete = { at: new Date().toISOString(), sequence: (records.at(-1)?.sequence ?? 0) + 1, ...record };
      await this.guard(() => appendFile(this.file, `${JSON.stringify(complete)}\n`, { mode: 0o600, flush: true }));
      records.push(complete);
    });
    this.writing = write.catch(() => undefined);
    await write;
  }

  /** @param before records older than this one, the newest first */
  async list({ before = Infinity, limit }: { before?: number | undefined; limit: number }): Promise<AuditRecord[]> {
    const records = await this.all();
    return records
      .filter(({ sequence }) => sequence < before)
      .slice(-limit)
      .reverse();
  }

  /** All of them, as they are in the file. */
  async export(): Promise<string> {
    return (await this.all()).map((record) => `${JSON.stringify(record)}\n`).join('');
  }

  /** Reads what is there, so that a file that cannot be used is said when the API starts. */
  async open(): Promise<void> {
    await this.guard(() => mkdir(path.dirname(this.file), { recursive: true, mode: 0o700 }));
    await this.all();
  }

  private async all(): Promise<AuditRecord[]> {
    this.records ??= await this.guard(async () => {
      const text = await readFile(this.file, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return '';
        throw error;
      });
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => auditRecordSchema.parse(JSON.parse(line)));
    });
    return this.records;
  }

  private async guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new FederatorError(
        'StoreUnavailable',
        `Audit log ${this.file} cannot be used (${code ?? 'a line of it is not a record'}): without it nothing is done.`,
        { cause: error },
      );
    }
  }
}
