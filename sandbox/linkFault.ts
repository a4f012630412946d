import { Transform, type TransformCallback } from 'node:stream';

/** What is wrong with the network from one cluster to another; it holds for both directions of a connection. */
export type LinkFault =
  | { kind: 'none' }
  /** No connection can be made, and those that are open are reset. */
  | { kind: 'cut' }
  /** Connections are made and stay open, but nothing gets through, not even that the other side closed. */
  | { kind: 'hang' }
  /** Everything arrives this much later. */
  | { kind: 'delay'; delayMs: number };

/** As much as a link keeps under way before it makes the sender wait. */
const MAX_BYTES_UNDER_WAY = 1 << 20;

/** One direction of a connection over a link that may be faulty: latency without loss of throughput, and order kept. */
export class LinkDirection extends Transform {
  private readonly underWay: { chunk: Buffer; sentAtMs: number }[] = [];
  private bytesUnderWay = 0;
  private senderWaits: TransformCallback | undefined;
  private endWaits: TransformCallback | undefined;
  private timer: NodeJS.Timeout | undefined;

  /** @param fault asked whenever something could be delivered */
  constructor(private readonly fault: () => LinkFault) {
    super();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.underWay.push({ chunk, sentAtMs: performance.now() });
    this.bytesUnderWay += chunk.length;
    this.senderWaits = done;
    this.deliver();
  }

  override _flush(done: TransformCallback): void {
    this.endWaits = done;
    this.deliver();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.timer);
    done(error);
  }

  /** Delivers what is due under the fault of this moment; to be called when the fault changes. */
  deliver(): void {
    clearTimeout(this.timer);
    if (this.destroyed) return;
    const fault = this.fault();
    if (fault.kind === 'none' || fault.kind === 'delay') this.deliverDue(fault.kind === 'delay' ? fault.delayMs : 0);
    if (this.bytesUnderWay < MAX_BYTES_UNDER_WAY) this.release('senderWaits');
    if (this.underWay.length === 0 && fault.kind !== 'hang') this.release('endWaits');
  }

  private deliverDue(delayMs: number): void {
    for (let next = this.underWay[0]; next !== undefined; next = this.underWay[0]) {
      const remainingMs = next.sentAtMs + delayMs - performance.now();
      if (remainingMs > 0) {
        this.timer = setTimeout(() => this.deliver(), Math.ceil(remainingMs));
        return;
      }
      this.underWay.shift();
      this.bytesUnderWay -= next.chunk.length;
      this.push(next.chunk);
    }
  }

  private release(waiting: 'senderWaits' | 'endWaits'): void {
    const done = this[waiting];
    this[waiting] = undefined;
    done?.();
  }
}
