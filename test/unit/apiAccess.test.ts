import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { SignJWT, UnsecuredJWT, type JWTPayload } from 'jose';
import { stringify } from 'yaml';
import { OidcTokens } from '../../src/access/oidc.js';
import { may, visible, type Permission, type Role } from '../../src/access/principal.js';
import { newToken, TokenFile } from '../../src/access/tokens.js';
import { Issuer } from '../support/issuer.js';

const AUDIENCE = 'spire-federator';

describe('roles', () => {
  const asks: Permission[] = ['view', 'change', 'approve', 'administer'];
  test.each<[Role, Permission[]]>([
    ['viewer', ['view']],
    ['operator', ['view', 'change']],
    ['approver', ['view', 'approve']],
    ['admin', ['view', 'change', 'approve', 'administer']],
  ])('%s may %j', (role, allowed) => {
    const everywhere = { name: 'x', grants: [{ role, federation: '*' }] };
    expect(asks.filter((each) => may(everywhere, each, 'payments'))).toEqual(allowed);
    expect(visible(everywhere)).toBeUndefined();
    const somewhere = { name: 'x', grants: [{ role, federation: 'payments' }] };
    expect(asks.filter((each) => may(somewhere, each, 'payments'))).toEqual(allowed);
    expect(asks.filter((each) => may(somewhere, each, 'others') || may(somewhere, each))).toEqual([]);
    expect(visible(somewhere)).toEqual(new Set(['payments']));
  });
});

describe('static tokens', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'tokens-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'tokens.yaml');
  const grants = [{ role: 'viewer', federation: '*' }];

  test('are known by their hash until they expire or are taken out', async () => {
    const [good, old] = [newToken(), newToken()];
    const expiresAt = '2020-01-01T00:00:00Z';
    writeFileSync(
      file,
      stringify({
        tokens: [
          { name: 'ci', sha256: good.sha256, grants },
          { name: 'old', sha256: old.sha256, grants, expiresAt },
        ],
      }),
    );
    const tokens = new TokenFile(file);
    expect(await tokens.principal(good.token)).toEqual({ name: 'token/ci', grants });
    for (const token of [old.token, newToken().token, good.sha256, '']) {
      expect(await tokens.principal(token)).toBeUndefined();
    }
    writeFileSync(file, stringify({ tokens: [{ name: 'new', sha256: newToken().sha256, grants }] }));
    utimesSync(file, new Date(), new Date(Date.now() + 5_000));
    expect(await tokens.principal(good.token)).toBeUndefined();
  });

  test('of a file that has a fault since it was read are those that it had before, and it is said once', async () => {
    const [good, late] = [newToken(), newToken()];
    const write = (text: string, seconds: number) => {
      writeFileSync(file, text);
      utimesSync(file, new Date(), new Date(Date.now() + seconds * 1_000));
    };
    const named = (name: string, { sha256 }: { sha256: string }) => stringify({ tokens: [{ name, sha256, grants }] });
    const said: string[] = [];
    const tokens = new TokenFile(file, (message) => said.push(message));
    write(named('good', good), 0);
    await tokens.read();
    write('tokens: [', 5);
    for (let time = 0; time < 3; time++)
      expect(await tokens.principal(good.token)).toMatchObject({ name: 'token/good' });
    expect(await tokens.principal(late.token)).toBeUndefined();
    expect(said).toEqual([expect.stringMatching(/is not YAML.*\nUntil that is mended/)]);
    write(named('late', late), 10);
    expect(await tokens.principal(late.token)).toMatchObject({ name: 'token/late' });
    expect(await tokens.principal(good.token)).toBeUndefined();
  });

  test.each([
    ['tokens: []', /tokens: /],
    ['tokens: [{ name: x, sha256: abc, grants: [{ role: root, federation: "*" }] }]', /sha256: must be.*\n.*role/],
    ['{', /is not YAML/],
  ])('in a file like %s are refused', async (text, says) => {
    writeFileSync(file, text);
    await expect(new TokenFile(file).read()).rejects.toThrow(says);
  });
});

describe('tokens of an OpenID Connect provider', () => {
  let issuer: Issuer;
  beforeAll(async () => {
    issuer = await Issuer.start(AUDIENCE);
  });
  afterAll(async () => issuer.stop());

  const roles = ['spire-federator:operator:payments', 'spire-federator:viewer', 'spire-federator:root', 'else'];
  const claims = (change: JWTPayload = {}) => issuer.claims({ roles, ...change });
  const sign = (payload: JWTPayload, by?: 'own' | 'foreign') => issuer.sign(payload, by);
  const oidc = () => new OidcTokens({ issuer: issuer.url, audience: AUDIENCE, rolesClaim: 'roles' });

  test('say who it is and what they may do', async () => {
    expect(await oidc().principal(await sign(claims()))).toEqual({
      name: 'oidc/alice',
      grants: [
        { role: 'operator', federation: 'payments' },
        { role: 'viewer', federation: '*' },
      ],
    });
    const known = await oidc().principal(await sign(claims({ email: 'a@b.test', email_verified: true })));
    expect(known?.name).toBe('oidc/a@b.test');
    const unproven = await oidc().principal(await sign(claims({ email: 'a@b.test' })));
    expect(unproven?.name).toBe('oidc/alice');
  });

  test.each<[string, () => Promise<string>]>([
    ['that has expired', () => sign(claims({ exp: 1 }))],
    ['that never expires', () => sign({ iss: issuer.url, aud: AUDIENCE, sub: 'alice', roles })],
    ['for somebody else', () => sign(claims({ aud: 'another' }))],
    ['of another issuer', () => sign(claims({ iss: 'https://evil.test' }))],
    ['signed by another key', () => sign(claims(), 'foreign')],
    ['that is not signed', async () => new UnsecuredJWT(claims()).encode()],
    [
      'signed with the public key as a secret',
      () => new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'k' }).sign(Buffer.from('k'.repeat(32))),
    ],
    ['that is no token', async () => 'x.y.z'],
  ])('%s is nobody', async (_what, token) => {
    expect(await oidc().principal(await token())).toBeUndefined();
  });

  describe('while the issuer answers', () => {
    beforeEach(() => (issuer.asked.length = 0));
    afterEach(() => (issuer.fault = undefined));

    test.each(['x', 'x.y', '..', 'x.y.', 'a.b.c.d.e', '~.~.~'])(
      'nothing is asked for "%s", which is no token',
      async (text) => {
        expect(await oidc().principal(text)).toBeUndefined();
        expect(issuer.asked).toEqual([]);
      },
    );

    test('its keys are asked for once for all who come at the same time', async () => {
      const tokens = oidc();
      const good = await sign(claims());
      const known = await Promise.all(Array.from({ length: 20 }, () => tokens.principal(good)));
      expect(new Set(known.map((each) => each?.name))).toEqual(new Set(['oidc/alice']));
      expect(issuer.asked).toEqual(['/.well-known/openid-configuration', '/keys']);
    });

    test.each([
      ['an error', 500, '{}'],
      ['a page', 200, '<html>'],
      ['what are no keys', 200, '{"keys": 1}'],
    ])('with %s, nobody is told that their token is not good', async (_what, status, body) => {
      const { url } = issuer;
      const tokens = new OidcTokens({ issuer: url, audience: AUDIENCE, rolesClaim: 'roles', jwksUri: `${url}/keys` });
      issuer.fault = { status, body };
      await expect(tokens.principal(await sign(claims()))).rejects.toMatchObject({ type: 'IssuerUnavailable' });
    });

    test('with an error, it is not asked again at once; who has a key that is known comes in', async () => {
      const [tokens, stranger] = [oidc(), oidc()];
      const good = await sign(claims());
      await tokens.principal(good);
      issuer.asked.length = 0;
      issuer.fault = { status: 500, body: '' };
      for (let time = 0; time < 5; time++) {
        await expect(stranger.principal(good)).rejects.toMatchObject({ type: 'IssuerUnavailable' });
        expect((await tokens.principal(good))?.name).toBe('oidc/alice');
      }
      expect(issuer.asked).toEqual(['/.well-known/openid-configuration']);
    });
  });

  test('cannot be checked without the keys, and keys are not fetched in the clear', async () => {
    const away = new OidcTokens({ issuer: 'http://127.0.0.1:1', audience: AUDIENCE, rolesClaim: 'roles' });
    await expect(away.principal(await sign(claims()))).rejects.toThrow(/keys of issuer .* cannot be had/);
    expect(() => new OidcTokens({ issuer: 'http://issuer.test', audience: AUDIENCE, rolesClaim: 'roles' })).toThrow(
      /must be an https URL/,
    );
  });
});
