import { OidcTokens } from '../../src/access/oidc.js';
import { ApiServer } from '../support/apiServer.js';

let server: ApiServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

/** A limit of two requests within a second. */
const few = { requestsPerSecond: 2 };
/** Of one request alone, and of many that come together. */
const statuses = async (ask: () => Promise<{ status: number }> | undefined) => {
  const answers = [await ask(), ...(await Promise.all(Array.from({ length: 8 }, ask)))];
  return new Set(answers.map((answer) => answer?.status));
};

test('who sends tokens that nobody can check is slowed down, too', async () => {
  const oidc = new OidcTokens({ issuer: 'http://127.0.0.1:1', audience: 'x', rolesClaim: 'roles' });
  server = await ApiServer.start({ context: { ...few, oidc } });
  expect(await statuses(() => server?.ask('GET', '/v1/whoami', { by: 'x.y.z' }))).toEqual(new Set([503, 429]));
});

test('who has a good token is slowed down also where what they send cannot be read', async () => {
  server = await ApiServer.start({ context: few });
  const at = '/v1/federations';
  const broken = () =>
    server?.ask('POST', at, { headers: { 'content-type': 'application/json' }, body: Buffer.from('{') });
  expect(await statuses(broken)).toEqual(new Set([400, 429]));
});
