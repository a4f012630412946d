import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';

/**
 * Lists the files at or under each of `entries`, sorted; an entry that does not exist counts as no files.
 * @param {string} root what the entries and the answer are relative to
 * @param {string[]} entries files and folders
 * @param {(file: string) => boolean} [keep] which files count
 * @returns {string[]}
 */
export function filesUnder(root, entries, keep = () => true) {
  const found = [];
  const visit = (entry) => {
    const absolute = path.join(root, entry);
    if (!existsSync(absolute)) return;
    if (!statSync(absolute).isDirectory()) {
      if (keep(entry)) found.push(entry);
      return;
    }
    for (const name of readdirSync(absolute)) if (name !== 'node_modules') visit(path.join(entry, name));
  };
  entries.forEach(visit);
  return found.sort();
}

/**
 * A hash over names and contents, so that a new modification time alone rebuilds nothing.
 * @param {string} root
 * @param {string[]} files relative to root
 * @param {string[]} [extra] other things the result depends on
 * @returns {string} hex
 */
export function contentHash(root, files, extra = []) {
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(`${file}\0`)
      .update(readFileSync(path.join(root, file)))
      .update('\0');
  for (const item of extra) hash.update(`${item}\0`);
  return hash.digest('hex');
}
