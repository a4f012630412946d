import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs';
import path from 'node:path';

/** A container's log file in the format of the container runtime interface, as `kubectl logs` is served from. */
export class CriLog {
  private readonly file: WriteStream;
  private readonly partial = { stdout: '', stderr: '' };

  constructor(readonly path_: string) {
    mkdirSync(path.dirname(path_), { recursive: true });
    this.file = createWriteStream(path_, { flags: 'a' });
  }

  write(stream: 'stdout' | 'stderr', chunk: Buffer): void {
    const lines = (this.partial[stream] + chunk.toString('utf8')).split('\n');
    this.partial[stream] = lines.pop() ?? '';
    const time = new Date().toISOString().replace('Z', '000000Z');
    for (const line of lines) this.file.write(`${time} ${stream} F ${line}\n`);
  }

  close(): void {
    this.file.end();
  }
}
