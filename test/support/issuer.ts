import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type CryptoKey, type JWTPayload } from 'jose';

const KEY_ID = 'k';

/** An OpenID Connect provider: a discovery document, one ES256 key, and the tokens that it signs. */
export class Issuer {
  private constructor(
    private readonly server: Server,
    readonly url: string,
    readonly audience: string,
    private readonly keys: { own: CryptoKey; foreign: CryptoKey },
    /** PEM of the key that all the world knows. */
    readonly publicKey: string,
  ) {}

  static async start(audience: string): Promise<Issuer> {
    const pair = await generateKeyPair('ES256', { extractable: true });
    const { privateKey: foreign } = await generateKeyPair('ES256');
    const jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), kid: KEY_ID, alg: 'ES256', use: 'sig' }] };
    let url = '';
    const server = createServer((request, response) => {
      const body = request.url?.includes('well-known') === true ? { issuer: url, jwks_uri: `${url}/keys` } : jwks;
      response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return new Issuer(server, url, audience, { own: pair.privateKey, foreign }, await exportSPKI(pair.publicKey));
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** What a good token says, but for what is changed. */
  claims(change: JWTPayload = {}): JWTPayload {
    const exp = Math.floor(Date.now() / 1_000) + 3_600;
    return { iss: this.url, aud: this.audience, sub: 'alice', exp, ...change };
  }

  /** @param by a key of its own, or one that it does not know */
  sign(payload: JWTPayload, by: 'own' | 'foreign' = 'own', keyId = KEY_ID): Promise<string> {
    return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: keyId }).sign(this.keys[by]);
  }
}
