import { generateKeyPairSync } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { packTexts } from '../../src/activities/dumpPacking.js';
import { dumpedObject, dumpedServerConf } from '../../src/federation/dumpedObject.js';
import { readableHistory } from '../../src/federation/readableHistory.js';
import { isSecretName, redactText } from '../../src/federation/redaction.js';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const PEM = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
const JWK = privateKey.export({ format: 'jwk' });
const TOKEN = `eyJhbGciOiJSUzI1NiJ9.${Buffer.from('{"sub":"system:serviceaccount"}').toString('base64url')}.c2lnbmF0dXJl`;

test.each([
  ['a private key', PEM, PEM.split('\n')[1]],
  ['a private key in JSON', JSON.stringify({ key: PEM }), PEM.split('\n')[2]],
  ['a private key in base64', Buffer.from(PEM).toString('base64'), Buffer.from(PEM).toString('base64').slice(40, 80)],
  ['a JWK', JSON.stringify(JWK), JWK.d],
  ['a token', `token for x: ${TOKEN}!`, TOKEN],
  ['a header', 'Authorization: Bearer sha256~abcdefgh12345678', 'sha256~abcdefgh12345678'],
  ['a DSN', 'open postgres://spire:hunter2secret@db:5432/spire failed', 'hunter2secret'],
  ['an assignment after a harmless name', 'the answer was no: password=hunter2', 'hunter2'],
  ['a DSN of words', 'dbname=spire user=spire password=hunter2 host=db', 'hunter2'],
  ['a setting', 'join_token: "6f1c3b1e-9a2d-4b0e"', '6f1c3b1e-9a2d-4b0e'],
  ['a setting in JSON within JSON', JSON.stringify(JSON.stringify({ secret_id: 'hunter2' })), 'hunter2'],
  ['a cloud key', 'using AKIAIOSFODNN7EXAMPLE', 'AKIAIOSFODNN7EXAMPLE'],
  ['a Vault token', 'login with hvs.CAESIJ1234567890abcdefghij', 'CAESIJ1234567890'],
])('%s goes', (_what, text, secret) => {
  expect(redactText(text)).not.toContain(secret);
  expect(redactText(text)).toContain('<redacted>');
});

test('a known credential goes, whatever it looks like', () => {
  expect(redactText('he said opaque-credential-1 twice: opaque-credential-1', ['opaque-credential-1'])).toBe(
    'he said <redacted> twice: <redacted>',
  );
});

test('what a reader needs stays', () => {
  const line =
    'time="2026-01-01T00:00:00Z" level=error msg="Error updating bundle" error="x509: certificate signed by unknown authority" trust_domain=apps.a.test refresh_hint=300 url=https://federation.a.test/';
  expect(redactText(line)).toBe(line);
  const object = 'secretName: web-certificate\nautomountServiceAccountToken: false\ntokenPath: /var/run/token\n';
  expect(redactText(object)).toBe(object);
  expect(['authority_id', 'keys_path', 'tokenReviewCount', 'secretName'].filter(isSecretName)).toEqual([]);
});

test('of server.conf plugins only what cannot be a secret', () => {
  const conf = {
    server: { trust_domain: 'a.test', federation: { bundle_endpoint: { port: 8443 } } },
    plugins: {
      DataStore: [
        {
          sql: { plugin_data: { database_type: 'postgres', connection_string: 'password=hunter2', max_open_conns: 9 } },
        },
      ],
      UpstreamAuthority: { vault: { plugin_data: { vault_addr: 'https://v', token_auth: { token: 'hunter3' } } } },
      KeyManager: [{ exotic: { plugin_cmd: '/bin/x', plugin_data: { whatever: ['hunter4', { deep: 'hunter5' }] } } }],
    },
  };
  const text = dumpedServerConf(JSON.stringify(conf));
  expect(text).not.toMatch(/hunter/);
  expect(JSON.parse(text)).toMatchObject({
    server: conf.server,
    plugins: {
      DataStore: [{ sql: { plugin_data: { database_type: 'postgres', max_open_conns: 9 } } }],
      UpstreamAuthority: { vault: { plugin_data: { vault_addr: 'https://v' } } },
    },
  });
  expect(dumpedServerConf('server { plugins { token = "hunter2" } }')).toMatch(/^left out: it is not JSON/);
});

test('of an object neither values of environment variables nor what was applied', () => {
  const dumped = dumpedObject({
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: {
      name: 'spire-server',
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'hunter1', note: 'x' },
      ...{ managedFields: [{ manager: 'kubectl' }] },
    },
    spec: {
      containers: [
        {
          env: [
            { name: 'DB', value: 'hunter2' },
            { name: 'E', valueFrom: { secretKeyRef: { key: 'k' } } },
          ],
        },
      ],
    },
  });
  expect(JSON.stringify(dumped)).not.toMatch(/hunter|managedFields/);
  expect(dumped).toMatchObject({
    metadata: { annotations: { note: 'x' } },
    spec: { containers: [{ env: [{ name: 'DB' }, { name: 'E', valueFrom: { secretKeyRef: { key: 'k' } } }] }] },
  });
});

test('what does not fit is cut at its beginning, or left out, and said to be', () => {
  const log = Array.from({ length: 5_000 }, (_, line) => `${line} ${Math.sin(line)}`).join('\n');
  const { packed = '', missing } = packTexts(
    [
      { path: 'first.json', text: '{}' },
      { path: 'a.log', text: log, isLog: true },
      { path: 'b.json', text: log },
    ],
    8_000,
    [{ what: 'c', why: 'away' }],
  );
  const texts = JSON.parse(gunzipSync(Buffer.from(packed, 'base64')).toString()) as Record<string, string>;
  expect(Object.keys(texts)).toEqual(['first.json', 'a.log']);
  expect(log.endsWith(texts['a.log'] ?? '?')).toBe(true);
  expect(Buffer.from(packed, 'base64').length).toBeLessThan(9_000);
  expect(missing.map(({ what }) => what)).toEqual(['c', 'the beginning of a.log', 'b.json']);
});

test('a history shows what its payloads hold', () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const long = (low: number) => ({ low, high: 0, unsigned: false, toString: () => String(low) });
  const payload = (encoding: string, text: string) => ({ metadata: { encoding: bytes(encoding) }, data: bytes(text) });
  const event = {
    eventId: long(1),
    eventTime: { seconds: long(1_700_000_000), nanos: 5_000_000 },
    eventType: 1,
    workflowExecutionStartedEventAttributes: {
      input: { payloads: [payload('json/plain', '{"cluster":"a←b"}'), payload('binary/encrypted', 'xyz')] },
      workflowTaskTimeout: { seconds: long(10), nanos: 0 },
    },
  };
  expect(readableHistory({ events: [event] })).toEqual({
    events: [
      {
        type: 'workflowExecutionStarted',
        eventId: '1',
        eventTime: '2023-11-14T22:13:20.005Z',
        workflowExecutionStartedEventAttributes: {
          input: { payloads: [{ cluster: 'a←b' }, '(binary/encrypted, 3 bytes)'] },
          workflowTaskTimeout: '10s',
        },
      },
    ],
  });
  const { events } = readableHistory({ events: Array.from({ length: 1_000 }, (_, eventId) => ({ eventId })) });
  expect(events).toHaveLength(321);
  expect(events[20]).toBe('680 events are left out here');
});
