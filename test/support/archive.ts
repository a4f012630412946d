import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { parse } from 'yaml';

/** The files of a gzipped tar archive, without the folder into which it unpacks. */
export async function readArchive(file: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  const tar = createReadStream(file).pipe(createGunzip()).pipe(extract());
  for await (const entry of tar) {
    let text = '';
    for await (const chunk of entry) text += String(chunk);
    files[entry.header.name.split('/').slice(1).join('/')] = text;
  }
  return files;
}

/**
 * Every credential and private key that lies in a sandbox's folder, whole and line by line: of kubeconfigs, of the
 * clusters' authorities, of SPIRE's key managers.
 */
export function sandboxSecrets(directory: string): string[] {
  const secrets = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .flatMap(({ name, parentPath }) => {
      const file = path.join(parentPath, name);
      if (name.startsWith('kubeconfig') || parentPath.endsWith('kubeconfigs'))
        return ofKubeconfig(readFileSync(file, 'utf8'));
      if (/\.key$|-key\.pem$|token$/.test(name)) return [readFileSync(file, 'utf8')];
      if (/keys\.json$/.test(name))
        return Object.values((JSON.parse(readFileSync(file, 'utf8')) as { keys: Record<string, string> }).keys);
      return [];
    });
  const lines = secrets.flatMap((secret) => [
    secret,
    ...secret.split('\n').filter((line) => !line.startsWith('-----')),
  ]);
  return [...new Set(lines.map((line) => line.trim()).filter((line) => line.length >= 24))];
}

function ofKubeconfig(text: string): string[] {
  const { users = [] } = parse(text) as { users?: { user: Record<string, string> }[] };
  return users.flatMap(({ user }) => {
    const key = user['client-key-data'];
    return [user['token'], user['password'], key, key && Buffer.from(key, 'base64').toString()].filter(
      (each) => each !== undefined,
    );
  });
}
