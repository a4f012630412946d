import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const lockModule = pathToFileURL(path.resolve('scripts/lock.mjs')).href;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A process that takes the lock, notes when it has it and when it gives it back, and holds it for `holdMs`. */
function holder(holdMs: number) {
  const code = `
    import { appendFileSync } from 'node:fs';
    import { setTimeout } from 'node:timers/promises';
    import { withLock } from '${lockModule}';
    const note = (text) => appendFileSync('diary', text + ' ' + process.pid + '\\n');
    await withLock('lock', () => {}, async () => { note('has'); await setTimeout(${holdMs}); note('gives'); });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: folder, stdio: 'inherit' });
  const ended = new Promise<number | null>((resolve, reject) => child.on('exit', resolve).on('error', reject));
  return { child, ended };
}

const diary = () => {
  const file = path.join(folder, 'diary');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
};

describe('the lock of a build', () => {
  it('lets one process in at a time, and the one after a killed one', async () => {
    const killed = holder(60_000);
    while (diary().length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const others = Array.from({ length: 4 }, () => holder(30));
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(await Promise.all(others.map(({ ended }) => ended))).toEqual([0, 0, 0, 0]);

    const [first, ...rest] = diary();
    expect(first).toBe(`has ${killed.child.pid}`);
    expect(rest).toHaveLength(8);
    for (let at = 0; at < rest.length; at += 2) expect(rest[at + 1]).toBe(rest[at]?.replace('has', 'gives'));
    expect(readdirSync(folder)).toEqual(['diary']);
  });
});
