import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs';
import path from 'node:path';

/** A container's log file in the format of the container runtime interface, as `kubectl logs` is served from. */
export class CriLog {
  private readonly file: WriteStream;
  private closed = false;
  private readonly partial = { stdout: '', stderr: '' };

  constructor(readonly path_: string) {
    mkdirSync(path.dirname(path_), { recursive: true });
    this.file = createWriteStream(path_, { flags: 'a' });
  }

  write(stream: 'stdout' | 'stderr', chunk: Buffer): void {
    if (this.closed) return;
    const lines = (this.partial[stream] + chunk.toString('utf8')).split('\n');
    this.partial[stream] = lines.pop() ?? '';
    const time = new Date().toISOString().replace('Z', '000000Z');
    for (const line of lines) this.file.write(`${time} ${stream} F ${line}\n`);
  }

  /** Closes the file; what comes later is of a process that was given up. */
  close(): void {
    this.closed = true;
    this.file.end();
  }
}
