import { appendFile, mkdir, open, readFile, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { FederatorError } from '../contract/errors.js';

/** How a workflow is or ended, and what it set out to do. */
export const auditOutcomeSchema = z
  .object({
    /** As Temporal names it; UNKNOWN where it was asked too late, and did not know it any more. */
    status: z.string(),
    /** ISO 8601. */
    endedAt: z.string().optional(),
    /** What failed it. */
    error: z.string().optional(),
    /** The steps that were to change something, undoing and failed checks included; absent where no worker could tell them. */
    plan: z
      .array(
        z.object({
          cluster: z.string(),
          title: z.string(),
          action: z.string(),
          details: z.array(z.string()).optional(),
          /** How far it came. */
          state: z.string(),
        }),
      )
      .optional(),
  })
  .meta({ id: 'AuditOutcome' });
export type AuditOutcome = z.infer<typeof auditOutcomeSchema>;

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
    /** The workflow that does it. */
    workflowId: z.string().optional(),
    runId: z.string().optional(),
    link: z.string().optional(),
    detail: z.string().optional(),
    /** `sequence` of the record whose workflow has ended. */
    ended: z.number().int().optional(),
    /** What came of the workflow; absent where that cannot be told just now. */
    outcome: auditOutcomeSchema.optional(),
  })
  .meta({ id: 'AuditRecord' });
export type AuditRecord = z.infer<typeof auditRecordSchema>;

/** What every line begins with: of one that was cut off, too, where that much of it was written. */
const LINE_START = '{"at":"';
const NEWLINE = '\n'.charCodeAt(0);

/** Where a line is in the file, in bytes. */
interface Place {
  from: number;
  length: number;
}

interface Content {
  /** Of requests; their outcomes stay in the file, as plans are long. */
  records: AuditRecord[];
  lastSequence: number;
  /** Sequences of records of which another one tells what came of it. */
  answered: Set<number>;
  /** Lines with the outcomes of workflows, by the sequence of their request. */
  outcomes: Map<number, Place>;
  /** Requests whose workflow has no outcome yet, by sequence. */
  pending: Map<number, AuditRecord>;
  /** Lines that a full disk or a power cut left unfinished. */
  cutOff: number;
  /** Of the file. */
  bytes: number;
  /** The last line is one of these: the next one must not go on in it. */
  isOpen: boolean;
}

/** Who asked for what, a line of JSON each, only ever added to. */
export class AuditLog {
  private content: Promise<Content> | undefined;
  /** What was written last may be in the file in part. */
  private isStale = false;
  private writing: Promise<unknown> = Promise.resolve();

  constructor(private readonly file: string) {}

  /**
   * Written when this returns: what was asked for before it is done, what came of it before the answer is sent.
   * @returns its sequence
   * @throws FederatorError StoreUnavailable
   */
  async add(record: Omit<AuditRecord, 'at' | 'sequence'>): Promise<number> {
    const write = this.writing.then(async () => {
      const content = await this.current();
      const sequence = content.lastSequence + 1;
      const complete = { at: new Date().toISOString(), sequence, ...record };
      const line = JSON.stringify(complete);
      const before = content.isOpen ? '\n' : '';
      try {
        await this.guard(() => appendFile(this.file, `${before}${line}\n`, { mode: 0o600, flush: true }));
      } catch (error) {
        // The next one looks.
        this.isStale = true;
        throw error;
      }
      const place = { from: content.bytes + before.length, length: Buffer.byteLength(line) };
      content.bytes = place.from + place.length + 1;
      content.isOpen = false;
      note(content, complete, place);
      return sequence;
    });
    this.writing = write.catch(() => undefined);
    return write;
  }

  /** One for each request, the newest first. @param before records older than this one */
  async list({ before = Infinity, limit }: { before?: number | undefined; limit: number }): Promise<AuditRecord[]> {
    const { records, answered, outcomes } = await this.all();
    const listed = records
      .filter(({ sequence }) => sequence < before && !answered.has(sequence))
      .slice(-limit)
      .reverse();
    return this.guard(async () => withOutcomes(this.file, listed, outcomes));
  }

  /** Requests whose workflow's outcome is not on record. */
  async pending(): Promise<AuditRecord[]> {
    return [...(await this.all()).pending.values()];
  }

  /** All of them, as they are in the file, a line each. */
  async export(): Promise<Readable> {
    await this.writing;
    // Said now that it cannot be read: once the answer has begun it is too late.
    await this.guard(async () => (await openToRead(this.file))?.close());
    return Readable.from(wholeLines(this.file));
  }

  /**
   * Reads what is there, so that a file that cannot be used is said when the API starts.
   * @returns how many of its lines were cut off
   */
  async start(): Promise<number> {
    await this.guard(() => mkdir(path.dirname(this.file), { recursive: true, mode: 0o700 }));
    return (await this.all()).cutOff;
  }

  /** What is there, also when somebody has moved the file away since: what follows goes into a new one, and numbers go on. */
  private async current(): Promise<Content> {
    const before = await this.all();
    const { size } = await this.guard(() => sizeOf(this.file));
    if (!this.isStale && size === before.bytes) return before;
    const content = await this.guard(async () => parse(await read(this.file)));
    content.lastSequence = Math.max(content.lastSequence, before.lastSequence);
    for (const [sequence, record] of before.pending)
      if (!content.outcomes.has(sequence)) content.pending.set(sequence, record);
    this.content = Promise.resolve(content);
    this.isStale = false;
    return content;
  }

  private async all(): Promise<Content> {
    const content = (this.content ??= this.guard(async () => parse(await read(this.file))));
    try {
      return await content;
    } catch (error) {
      if (this.content === content) this.content = undefined;
      throw error;
    }
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

async function sizeOf(file: string): Promise<{ size: number }> {
  return stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return { size: 0 };
    throw error;
  });
}

async function read(file: string): Promise<Buffer> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  });
}

/** In bytes, as a line that was cut off may end within a character. */
function* lines(text: Buffer): Generator<{ line: string; place: Place }> {
  for (let from = 0; from < text.length;) {
    const newline = text.indexOf(NEWLINE, from);
    const end = newline === -1 ? text.length : newline;
    const place = { from, length: end - from };
    yield { line: withoutGaps(text.toString('utf8', from, end)), place };
    from = end + 1;
  }
}

function parse(text: Buffer): Content {
  const content: Content = {
    records: [],
    lastSequence: 0,
    answered: new Set(),
    outcomes: new Map(),
    pending: new Map(),
    cutOff: 0,
    bytes: text.length,
    isOpen: text.length > 0 && text.at(-1) !== NEWLINE,
  };
  for (const { line, place } of lines(text)) {
    if (isCutOff(line)) content.cutOff += 1;
    else if (line !== '') note(content, auditRecordSchema.parse(JSON.parse(line)), place);
  }
  return content;
}

function note(content: Content, record: AuditRecord, place: Place): void {
  const { sequence, asked, ended, runId } = record;
  content.lastSequence = sequence;
  if (ended !== undefined) {
    content.outcomes.set(ended, place);
    content.pending.delete(ended);
    return;
  }
  content.records.push(record);
  if (asked !== undefined) content.answered.add(asked);
  if (runId !== undefined) content.pending.set(sequence, record);
}

async function withOutcomes(
  file: string,
  records: readonly AuditRecord[],
  outcomes: ReadonlyMap<number, Place>,
): Promise<AuditRecord[]> {
  if (!records.some(({ sequence }) => outcomes.has(sequence))) return [...records];
  const handle = await openToRead(file);
  if (handle === undefined) return [...records];
  try {
    return await Promise.all(
      records.map(async (record) => {
        const place = outcomes.get(record.sequence);
        const outcome = place && (await outcomeAt(handle, place, record.sequence));
        return { ...record, ...(outcome === undefined ? {} : { outcome }) };
      }),
    );
  } finally {
    await handle.close();
  }
}

/** Undefined where another line is there by now: somebody has put another file in its place, to begin a new one. */
async function outcomeAt(
  handle: FileHandle,
  { from, length }: Place,
  sequence: number,
): Promise<AuditOutcome | undefined> {
  const { buffer } = await handle.read(Buffer.alloc(length), 0, length, from);
  try {
    const record = auditRecordSchema.safeParse(JSON.parse(withoutGaps(buffer.toString())));
    return record.data?.ended === sequence ? record.data.outcome : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function openToRead(file: string): Promise<FileHandle | undefined> {
  return open(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

async function* wholeLines(file: string): AsyncGenerator<string> {
  const handle = await openToRead(file);
  try {
    let rest = Buffer.alloc(0);
    for await (const chunk of handle?.createReadStream({ autoClose: false }) ?? []) {
      rest = Buffer.concat([rest, chunk as Buffer]);
      for (let end = rest.indexOf(NEWLINE); end !== -1; end = rest.indexOf(NEWLINE)) {
        const line = withoutGaps(rest.toString('utf8', 0, end));
        rest = rest.subarray(end + 1);
        if (line !== '' && !isCutOff(line)) yield `${line}\n`;
      }
    }
  } finally {
    await handle?.close();
  }
}

/** Without the space that a file system had given to the file, and not yet filled. */
function withoutGaps(line: string): string {
  return line.replaceAll('\0', '');
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
