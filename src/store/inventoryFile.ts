import { stat } from 'node:fs/promises';
import { loadInventory } from '../config.js';
import type { Inventory } from '../contract/inventory.js';

/** An inventory file, which is read again when it has changed: so clusters are added without a restart. */
export class InventoryFile {
  private known: { stamp: string; content: Promise<Inventory> } | undefined;

  constructor(readonly path: string) {}

  /** @throws FederatorError InvalidInventory with every fault of the file */
  async read(): Promise<Inventory> {
    const stamp = await stampOf(this.path);
    if (this.known?.stamp === stamp) return this.known.content;
    const read = { stamp, content: loadInventory(this.path) };
    this.known = read;
    // What stands in the way of reading it is no part of the file: the next use tries again.
    read.content.catch(() => {
      if (this.known === read) this.known = undefined;
    });
    return read.content;
  }
}

async function stampOf(file: string): Promise<string> {
  try {
    const { mtimeMs, size } = await stat(file);
    return `${mtimeMs} ${size}`;
  } catch {
    // Reading it says why.
    return '';
  }
}
