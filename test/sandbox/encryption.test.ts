import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { eventually } from '../../sandbox/kubernetes.js';
import { newToken } from '../../src/access/tokens.js';
import type { HealthSchedule } from '../../src/contract/scheduledHealth.js';
import { readArchive, sandboxSecrets } from '../support/archive.js';
import { Testbed } from '../support/testbed.js';
import { untilHealth, watchPair } from '../support/watched.js';

const FEDERATION = 'sealed';
const CLUSTERS = ['client-1', 'server-1'];
const CHANGE = `federation/${FEDERATION}/change`;
const MINUTE = 60_000;
const WEB_UI = 'http://127.0.0.1:8233';
const KEYS = 'SPIRE_FEDERATOR_PAYLOAD_KEYS';
const TOKENS = { operator: newToken(), viewer: newToken() };
/** What only payloads hold: activities are named after clusters, and search attributes after trust domains. */
const SEALED = /refreshHintSeconds|ClusterFederatedTrustDomain|SHA256:/;

let testbed: Testbed;
let api: string;

beforeAll(async () => {
  testbed = await Testbed.start();
  testbed.environment[KEYS] = `k1:${randomBytes(32).toString('base64')}`;
  await testbed.startWorker();
  const tokens = Object.entries(TOKENS).map(([role, { sha256 }]) => ({
    name: role,
    sha256,
    grants: [{ role, federation: '*' }],
  }));
  const file = path.join(testbed.folder, 'tokens.yaml');
  writeFileSync(file, stringify({ tokens }));
  api = await testbed.startApi({ SPIRE_FEDERATOR_API_TOKENS: file, TEMPORAL_UI_URL: WEB_UI });
  await watchPair(testbed, FEDERATION, CLUSTERS);
}, 4 * MINUTE);

afterAll(() => testbed.stop(), MINUTE);

/** A change's history, with what is in its payloads. */
async function show(...args: string[]): Promise<string> {
  const history = await testbed.temporal('workflow', 'show', '-w', CHANGE, '--output', 'json', ...args);
  return history.replaceAll(/"data": "([^"]*)"/g, (_, data: string) => Buffer.from(data, 'base64').toString('latin1'));
}

test(
  'commands and API read what Temporal cannot',
  async () => {
    await untilHealth(testbed, FEDERATION, ({ verdict }) => verdict === 'ok');
    const attached = await testbed.federator('attach', FEDERATION);
    expect(attached).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('SHA256:') as string,
    });
    const answer = await fetch(`${api}/v1/federations/${FEDERATION}/health`, {
      headers: { authorization: `Bearer ${TOKENS.viewer.token}` },
    });
    expect(await answer.json()).toMatchObject({ federation: FEDERATION, counts: { fresh: 2 } });

    const health = (...args: string[]) => testbed.federator('health', ...args, '--federation', FEDERATION);
    for (const args of [['schedule', '--every', '2h'], ['run']])
      expect(await health(...args)).toMatchObject({ code: 0 });
    await eventually('a scheduled look is read', async () => {
      const [schedule] = JSON.parse((await health('list', '--json')).stdout) as HealthSchedule[];
      expect(schedule?.last).toMatchObject({ status: 'COMPLETED', report: { verdict: 'ok' } });
    });

    const kept = await show();
    expect(kept).toContain(Buffer.from('binary/encrypted').toString('base64'));
    expect(kept).not.toMatch(SEALED);
  },
  2 * MINUTE,
);

test(
  'without the keys, or with others, a command says what is missing',
  async () => {
    const others = `k2:${randomBytes(32).toString('base64')}`;
    const status = (keys: string) => testbed.federatorWith({ [KEYS]: keys }, 'status', '--federation', FEDERATION);
    expect(await status('')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^A payload is encrypted with key k1, and \S+ is not set here\./) as string,
    });
    expect(await status(others)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/with key k1, which is not among those of \S+ here \(k2\)\./) as string,
    });
    const file = path.join(testbed.folder, 'refused.tar.gz');
    expect(
      await testbed.federatorWith({ [KEYS]: '' }, 'sysdump', '--federation', FEDERATION, '--file', file),
    ).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(`${KEYS} is not set here`) as string });
    expect(existsSync(file)).toBe(false);
  },
  2 * MINUTE,
);

test(
  'sysdump has histories that people can read, and no secrets',
  async () => {
    const file = path.join(testbed.folder, 'sealed.tar.gz');
    const { code, stderr } = await testbed.federator('sysdump', '--federation', FEDERATION, '--file', file);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const files = await readArchive(file);
    const histories = Object.entries(files).filter(([name]) => name.startsWith('engine/histories/'));
    const setup = histories.find(([name]) => name.includes('setupPair'))?.[1] ?? '';
    expect(setup).toMatch(/"refreshHintSeconds": 60/);
    const all = Object.values(files).join('\n');
    expect(all).not.toContain('binary/encrypted');
    const secrets = [...sandboxSecrets(testbed.directory), testbed.environment[KEYS]?.slice('k1:'.length) ?? ''];
    expect(secrets.length).toBeGreaterThan(50);
    expect(secrets.filter((secret) => all.includes(secret))).toEqual([]);
    expect(all).not.toMatch(/PRIVATE KEY/);
  },
  2 * MINUTE,
);

test(
  'the codec server decodes for whom it may, and for the Web UI alone in a browser',
  async () => {
    const codec = ['--codec-endpoint', `${api}/v1/codec`, '--codec-auth'];
    expect(await show(...codec, `Bearer ${TOKENS.operator.token}`)).toMatch(SEALED);
    for (const token of [TOKENS.viewer.token, newToken().token])
      expect(await show(...codec, `Bearer ${token}`)).not.toMatch(SEALED);

    const allowed = async (origin: string, init: RequestInit) =>
      (await fetch(`${api}/v1/codec/decode`, { ...init, headers: { ...init.headers, origin } })).headers.get(
        'access-control-allow-origin',
      );
    const call: RequestInit = {
      method: 'POST',
      body: JSON.stringify({ payloads: [] }),
      headers: { authorization: `Bearer ${TOKENS.operator.token}`, 'content-type': 'application/json' },
    };
    for (const init of [call, { method: 'OPTIONS', headers: { 'access-control-request-method': 'POST' } }]) {
      expect(await allowed(WEB_UI, init)).toBe(WEB_UI);
      expect(await allowed('http://evil.test', init)).toBeNull();
    }
  },
  MINUTE,
);
