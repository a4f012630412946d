/** How old an answer may be. */
export interface Age {
  /** An older one is asked for again, though it is given once more while that lasts. */
  freshMs: number;
  /** An older one is not given any more. */
  usableMs: number;
}

interface Asked<T> {
  /** When it came; until then, when it was asked for. */
  at: number;
  answer: Promise<T>;
  isAskedAgain: boolean;
}

/** Answers that take a moment to come by, shared by all who ask for the same at about the same time. */
export class Shared<T> {
  private readonly asked = new Map<string, Asked<T>>();

  constructor(
    private readonly ask: (key: string) => Promise<T>,
    private readonly age: Age,
  ) {}

  /** Nobody waits who asks often: an answer that gets old is renewed meanwhile. */
  async get(key: string): Promise<T> {
    const known = this.asked.get(key);
    const age = known === undefined ? Infinity : Date.now() - known.at;
    if (known === undefined || age >= this.age.usableMs) return this.askNow(key).answer;
    if (age >= this.age.freshMs && !known.isAskedAgain) {
      known.isAskedAgain = true;
      this.renew(key, known);
    }
    return known.answer;
  }

  /** What is asked from now on is asked anew. @param key absent: all */
  forget(key?: string): void {
    if (key === undefined) this.asked.clear();
    else this.asked.delete(key);
  }

  private askNow(key: string): Asked<T> {
    for (const [each, { at }] of this.asked) if (Date.now() - at >= this.age.usableMs) this.asked.delete(each);
    const asked = { at: Date.now(), answer: this.ask(key), isAskedAgain: false };
    this.asked.set(key, asked);
    asked.answer.then(
      () => (asked.at = Date.now()),
      () => this.drop(key, asked),
    );
    return asked;
  }

  /** Replaces an answer by a newer one, unless it has been forgotten meanwhile. */
  private renew(key: string, known: Asked<T>): void {
    const answer = this.ask(key);
    answer.then(
      () => {
        if (this.asked.get(key) === known) this.asked.set(key, { at: Date.now(), answer, isAskedAgain: false });
      },
      // Whoever asks next is told what is wrong.
      () => this.drop(key, known),
    );
  }

  private drop(key: string, asked: Asked<T>): void {
    if (this.asked.get(key) === asked) this.asked.delete(key);
  }
}
