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
    /** HTTP status that the request got; absent before it was done, and for good where nobody could write what came of it. */
    status: z.number().int().optional(),
    /** `sequence` of the record that was written before it was done. */
    asked: z.number().int().optional(),
    /** The workflow that does it: its state is the outcome. */
    workflowId: z.string().optional(),
    runId: z.string().optional(),
    link: z.string().optional(),
    detail: z.string().optional(),
  })
  .meta({ id: 'AuditRecord' });
export type AuditRecord = z.infer<typeof auditRecordSchema>;

/** What every line begins with: of one that was cut off, too, where that much of it was written. */
const LINE_START = '{"at":"';

interface Content {
  records: AuditRecord[];
  /** Sequences of records of which another one tells what came of it. */
  answered: Set<number>;
  /** Lines that a full disk or a power cut left unfinished. */
  cutOff: number;
  /** The last line is one of these: the next one must not go on in it. */
  isOpen: boolean;
}

/** Who asked for what, a line of JSON each, only ever added to. */
export class AuditLog {
  private content: Content | undefined;
  private writing: Promise<unknown> = Promise.resolve();

  constructor(private readonly file: string) {}

  /**
   * Written when this returns: what was asked for before it is done, what came of it before the answer is sent.
   * @returns its sequence
   * @throws FederatorError StoreUnavailable
   */
  async add(record: Omit<AuditRecord, 'at' | 'sequence'>): Promise<number> {
    const write = this.writing.then(async () => {
      const content = await this.all();
      const sequence = (content.records.at(-1)?.sequence ?? 0) + 1;
      const complete = { at: new Date().toISOString(), sequence, ...record };
      const line = `${content.isOpen ? '\n' : ''}${JSON.stringify(complete)}\n`;
      try {
        await this.guard(() => appendFile(this.file, line, { mode: 0o600, flush: true }));
      } catch (error) {
        // Some of it may be there: the next one looks.
        this.content = undefined;
        throw error;
      }
      content.isOpen = false;
      note(content, complete);
      return sequence;
    });
    this.writing = write.catch(() => undefined);
    return write;
  }

  /** One for each request, the newest first. @param before records older than this one */
  async list({ before = Infinity, limit }: { before?: number | undefined; limit: number }): Promise<AuditRecord[]> {
    const { records, answered } = await this.all();
    return records
      .filter(({ sequence }) => sequence < before && !answered.has(sequence))
      .slice(-limit)
      .reverse();
  }

  /** All of them, as they are in the file. */
  async export(): Promise<string> {
    return (await this.all()).records.map((record) => `${JSON.stringify(record)}\n`).join('');
  }

  /**
   * Reads what is there, so that a file that cannot be used is said when the API starts.
   * @returns how many of its lines were cut off
   */
  async open(): Promise<number> {
    await this.guard(() => mkdir(path.dirname(this.file), { recursive: true, mode: 0o700 }));
    return (await this.all()).cutOff;
  }

  private async all(): Promise<Content> {
    this.content ??= await this.guard(async () => {
      const text = await readFile(this.file, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return '';
        throw error;
      });
      return parse(text);
    });
    return this.content;
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

function parse(text: string): Content {
  const isOpen = text !== '' && !text.endsWith('\n');
  const content: Content = { records: [], answered: new Set(), cutOff: 0, isOpen };
  for (const line of text.split('\n')) {
    // Space that a file system had given to the file, and not yet filled.
    const written = line.replaceAll('\0', '');
    if (isCutOff(written)) content.cutOff += 1;
    else if (written !== '') note(content, auditRecordSchema.parse(JSON.parse(written)));
  }
  return content;
}

function note({ records, answered }: Content, record: AuditRecord): void {
  records.push(record);
  if (record.asked !== undefined) answered.add(record.asked);
}

/** No beginning of an object is JSON. */
function isCutOff(line: string): boolean {
  if (line === '' || !line.startsWith(LINE_START.slice(0, line.length))) return false;
  try {
    JSON.parse(line);
    return false;
  } catch {
    return true;
  }
}
