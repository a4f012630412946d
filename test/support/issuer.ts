import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type CryptoKey, type JWTPayload } from 'jose';

const KEY_ID = 'k';

/** An OpenID Connect provider: a discovery document, one ES256 key, and the tokens that it signs. */
export class Issuer {
  /** Paths that it was asked for. */
  readonly asked: string[] = [];
  /** What it answers instead. */
  fault: { status: number; body: string } | undefined;

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
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const keys = { own: pair.privateKey, foreign };
    const made = new Issuer(server, url, audience, keys, await exportSPKI(pair.publicKey));
    server.on('request', ({ url: asked = '' }, response) => {
      made.asked.push(asked);
      const body = JSON.stringify(asked.includes('well-known') ? { issuer: url, jwks_uri: `${url}/keys` } : jwks);
      response.setHeader('content-type', 'application/json');
      if (made.fault === undefined) response.end(body);
      else response.writeHead(made.fault.status).end(made.fault.body);
    });
    return made;
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
