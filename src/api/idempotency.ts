import { createHash } from 'node:crypto';
import { ProblemError } from './problem.js';

/** So long a repeated request gets the first one's answer. */
const KEPT_MS = 24 * 3600 * 1_000;
const MOST = 10_000;

interface Answer {
  status: number;
  body: unknown;
}

/** Answers by the Idempotency-Key of their requests; kept by this process. */
export class IdempotencyKeys {
  private readonly known = new Map<string, { digest: string; at: number; answer: Promise<Answer> }>();

  /**
   * Does the work of a request once per key: a repeated request waits for, or gets, what the first one got.
   * @param who keys of one are none of another's business
   * @throws ProblemError 422 for another request under the same key
   */
  async once(
    { who, key, request }: { who: string; key: string | undefined; request: unknown },
    work: () => Promise<Answer>,
  ): Promise<Answer> {
    if (key === undefined) return work();
    this.letGo();
    const name = hash([who, key]);
    const digest = hash(request);
    const first = this.known.get(name);
    if (first === undefined) {
      const answer = work();
      this.known.set(name, { digest, at: Date.now(), answer });
      // What failed may be tried again under the same key.
      answer.catch(() => this.known.delete(name));
      return answer;
    }
    if (first.digest === digest) return first.answer;
    throw new ProblemError(
      422,
      'IdempotencyKeyReused',
      'This Idempotency-Key came with another request before. Use a new key for a new request.',
    );
  }

  private letGo(): void {
    for (const [name, { at }] of this.known) {
      if (Date.now() - at < KEPT_MS && this.known.size < MOST) return;
      this.known.delete(name);
    }
  }
}

function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
