import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { eventually } from '../../sandbox/kubernetes.js';
import { connects, freePort } from '../../sandbox/ports.js';
import { line } from '../support/testbed.js';

const ROOT = path.resolve(__dirname, '../..');
const MINUTE = 60_000;

let folder: string;
let environment: Record<string, string>;
let port: number;
let api: string;
const started: ChildProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'federator-up-'));
  // The Web UI's port, 1000 above, has to be there, too.
  port = await freePort(20_000 + (process.pid % 1_000));
  api = `127.0.0.1:${await freePort()}`;
  environment = { TEMPORAL_ADDRESS: `127.0.0.1:${port}`, SPIRE_FEDERATOR_API_ADDRESS: api, NO_COLOR: '1' };
});

afterEach(async () => {
  for (const child of started.splice(0).filter(({ exitCode }) => exitCode === null)) {
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('close', resolve));
  }
}, MINUTE);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  for (const file of readdirSync(path.join(ROOT, '.temporal')))
    if (file.startsWith(`temporal-${port}.db`)) rmSync(path.join(ROOT, '.temporal', file));
});

function writeInventory(): void {
  const cluster = (name: string) => `  - name: ${name}\n    kubeconfig: { path: ${name}.kubeconfig }\n`;
  writeFileSync(path.join(folder, 'inventory.yaml'), `clusters:\n${['a', 'b'].map(cluster).join('')}`);
}

function up(changed: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, [path.join(ROOT, 'dist/src/cli/main.js'), 'up'], {
    cwd: folder,
    env: { ...process.env, ...environment, ...changed },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  return child;
}

/** Runs it to its end. */
async function ended(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => (output.stdout += String(chunk)));
  child.stderr?.on('data', (chunk) => (output.stderr += String(chunk)));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, ...output };
}

/** Everything that a process started and that still runs, also what that started. */
function descendants(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  const children = readFileSync(file, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

test(
  'says in one line what is missing, or taken',
  async () => {
    expect(await ended(up())).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^There is no inventory: .*\n$/) as string,
    });
    writeInventory();
    const taken = net.createServer((socket) => socket.end());
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(taken.address() as net.AddressInfo).port}`;
    try {
      expect(await ended(up({ SPIRE_FEDERATOR_API_ADDRESS: address }))).toEqual({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(
          new RegExp(`^${address} is taken, .* SPIRE_FEDERATOR_API_ADDRESS\\.\n$`),
        ) as string,
      });
      expect(await ended(up({ TEMPORAL_ADDRESS: address }))).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(new RegExp(`^There is no Temporal server at ${address} .*\n$`)) as string,
      });
    } finally {
      taken.close();
    }
    expect(await ended(up({ TEMPORAL_ADDRESS: '192.0.2.1:7233' }))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^There is no Temporal server at 192\.0\.2\.1:7233, .* TEMPORAL_ADDRESS .*\n$/,
      ) as string,
    });
  },
  MINUTE,
);

test(
  'from nothing to an engine that runs, and back to nothing',
  async () => {
    writeInventory();
    const engine = up();
    const whole = ended(engine);
    const said = await line(engine.stdout, /^Token /);
    const [, token = ''] = /^Token {4}(sf_\S+)/.exec(said) ?? [];
    const all = descendants(engine.pid ?? 0);
    // The dev server has the script in front of it that knows where it is.
    expect(all).toHaveLength(4);

    expect(await (await fetch(`http://${api}/healthz`)).json()).toEqual({ status: 'ok' });
    await eventually('Temporal and a worker answer', async () => {
      expect((await fetch(`http://${api}/readyz`)).status).toBe(200);
    });
    expect((await fetch(`http://127.0.0.1:${port + 1_000}`)).status).toBe(200);
    const changes = (authorization: string) =>
      fetch(`http://${api}/v1/federations/none/changes`, { headers: { authorization } });
    expect((await changes(`Bearer ${token}`)).status).toBe(200);
    expect((await changes('Bearer sf_other')).status).toBe(401);
    const tokens = path.join(folder, 'tokens.yaml');
    expect(statSync(tokens).mode & 0o777).toBe(0o600);
    expect(readFileSync(tokens, 'utf8')).not.toContain(token);

    expect(await ended(up())).toEqual({
      code: 0,
      stdout: `The engine is running already.\nConsole  http://${api}/console\nWeb UI   http://127.0.0.1:${port + 1_000}\n`,
      stderr: '',
    });

    engine.kill('SIGINT');
    const { code, stdout, stderr } = await whole;
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/Stopping …\n$/) as string });
    expect(stderr).toMatch(/^worker {3}│ .*Worker on task queue/m);
    expect(stderr).not.toContain(token);
    expect(all.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    expect(await Promise.all([connects(port), connects(port + 1_000)])).toEqual([false, false]);
  },
  3 * MINUTE,
);

test(
  'ends with what ended, and leaves nothing of the others',
  async () => {
    writeInventory();
    // A tokens file that is none ends the API, when the rest runs already.
    writeFileSync(path.join(folder, 'tokens.yaml'), 'tokens: []\n');
    const { code, stderr } = await ended(up());
    expect(code).toBe(1);
    expect(stderr).toMatch(/^api has ended \(exit code 1\): .*tokens.*$/m);
    expect(await connects(port)).toBe(false);
  },
  MINUTE,
);
