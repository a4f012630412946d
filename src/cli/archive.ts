import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';
import { pack, type Pack } from 'tar-stream';

/** For the user alone: it tells much about the clusters, though no secrets. */
const MODE = 0o600;

/** A gzipped tar archive of a bounded size, written as it comes: the most important files must be added first. */
export class Archive {
  private readonly tar: Pack = pack();
  private readonly written: Promise<void>;
  private bytes = 0;

  /** @param folder into which it unpacks */
  constructor(
    file: string,
    private readonly folder: string,
    private readonly maxBytes: number,
  ) {
    this.written = pipeline(this.tar, createGzip(), createWriteStream(file, { mode: MODE, flags: 'wx' }));
    // Told of by `end`, whenever that comes.
    this.written.catch(() => undefined);
  }

  /** @returns false when there was no room for it */
  add(path: string, text: string): boolean {
    const size = gzipSync(text).length;
    if (this.bytes + size > this.maxBytes) return false;
    this.bytes += size;
    this.addLast(path, text);
    return true;
  }

  /** Adds what must not be missing, and is small. */
  addLast(path: string, text: string): void {
    this.tar.entry({ name: `${this.folder}/${path}`, mode: MODE }, text);
  }

  async end(): Promise<void> {
    this.tar.finalize();
    await this.written;
  }
}
