import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { z } from 'zod';
import { FederatorError } from '../contract/errors.js';
import { clusterEntrySchema } from '../contract/inventory.js';
import type { ClusterRecord, ClusterStore, StoredCluster } from './clusterStore.js';
import type { KeyRing } from '../encryption/keyRing.js';
import { open, seal, sealedSchema } from './sealing.js';

const CLUSTER = '.cluster.json';
const CANDIDATE = '.candidate.json';

const fileSchema = z.strictObject({
  entry: clusterEntrySchema,
  onboardedAt: z.iso.datetime(),
  onboardedBy: z.string(),
  kubeconfig: sealedSchema,
});

/** Keeps each cluster in a file of one folder that its owner alone may read, its kubeconfig sealed. */
export class FileStore implements ClusterStore {
  readonly description: string;

  constructor(
    private readonly folder: string,
    private readonly keys: KeyRing,
  ) {
    this.description = `folder ${folder}`;
  }

  async list(): Promise<StoredCluster[]> {
    const names = await this.guard('read', async () => {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      return readdir(this.folder);
    });
    const files = names.filter((name) => name.endsWith(CLUSTER) || name.endsWith(CANDIDATE)).sort();
    const clusters = await Promise.all(files.map((file) => this.read(file)));
    return clusters.flatMap((each) => each?.cluster ?? []);
  }

  async kubeconfig(name: string, candidate: boolean): Promise<string> {
    const found = await this.read(fileOf(name, candidate));
    if (found === undefined) throw this.unknown(name);
    return open(this.keys, found.kubeconfig, context(name));
  }

  async secret(): Promise<string> {
    throw new FederatorError(
      'InvalidInput',
      `This engine keeps clusters in ${this.description} and has no cluster of its own to read a Secret from: send the kubeconfig, or use a store of Secrets.`,
    );
  }

  async propose({ entry, kubeconfig, by }: ClusterRecord): Promise<void> {
    const content: z.infer<typeof fileSchema> = {
      entry,
      onboardedAt: new Date().toISOString(),
      onboardedBy: by,
      kubeconfig: seal(this.keys, kubeconfig, context(entry.name)),
    };
    await this.guard('written', async () => {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      await chmod(this.folder, 0o700);
      // Written aside and moved: who reads sees the old one or the new one, whole.
      const temporary = path.join(this.folder, `.${randomUUID()}`);
      await writeFile(temporary, JSON.stringify(content, undefined, 2), { mode: 0o600, flag: 'wx' });
      await rename(temporary, path.join(this.folder, fileOf(entry.name, true)));
    });
  }

  async promote(name: string): Promise<void> {
    await this.guard('written', async () => {
      try {
        await rename(path.join(this.folder, fileOf(name, true)), path.join(this.folder, fileOf(name, false)));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw this.unknown(name);
        throw error;
      }
    });
  }

  async remove(name: string, candidate: boolean): Promise<void> {
    await this.guard('written', () => rm(path.join(this.folder, fileOf(name, candidate)), { force: true }));
  }

  private async read(file: string) {
    const at = path.join(this.folder, file);
    const found = await this.guard('read', async () => {
      try {
        const [text, { mtimeMs, ino }] = await Promise.all([readFile(at, 'utf8'), stat(at)]);
        return { text, version: `${mtimeMs}-${ino}` };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    });
    if (found === undefined) return undefined;
    const { kubeconfig, ...rest } = parseFile(at, found.text);
    const cluster: StoredCluster = {
      ...rest,
      version: found.version,
      candidate: file.endsWith(CANDIDATE),
      foreign: false,
    };
    return { cluster, kubeconfig };
  }

  private unknown(name: string): FederatorError {
    return new FederatorError('UnknownCluster', `There is no cluster ${name} in ${this.description}.`);
  }

  private async guard<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (error instanceof FederatorError || code === undefined) throw error;
      throw new FederatorError(
        'StoreUnavailable',
        `The cluster store, ${this.description}, cannot be ${what} (${code}). See that this process owns it.`,
        { cause: error },
      );
    }
  }
}

function parseFile(at: string, text: string): z.infer<typeof fileSchema> {
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new FederatorError(
      'StoreUnavailable',
      `${at} is not what the cluster store wrote: restore it from a backup, or delete it and onboard the cluster again.`,
      { cause: error },
    );
  }
}

/** Names are DNS labels, so they cannot lead out of the folder. */
function fileOf(name: string, candidate: boolean): string {
  return `${name}${candidate ? CANDIDATE : CLUSTER}`;
}

function context(name: string): string {
  return `The kubeconfig of ${name}`;
}
