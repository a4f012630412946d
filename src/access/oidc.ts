import { createRemoteJWKSet, customFetch, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import { FederatorError } from '../contract/errors.js';
import { grantSchema, type Grant, type Principal } from './principal.js';

/** Signatures by keys that only the issuer has; a shared secret (HS256) or none is nobody's signature. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const CLOCK_TOLERANCE_SECONDS = 30;
const TIMEOUT_MS = 5_000;
/** An issuer that could not be reached is not asked again for so long. */
const AWAY_MS = 5_000;
/** A signed token: header, payload and signature in base64url (RFC 7515, section 3.1). */
const SIGNED = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/** What jose says of keys that it did not get; nothing else of a token is told so. */
const KEYS_MISSING: ReadonlySet<string> = new Set([
  errors.JOSEError.code,
  errors.JWKSTimeout.code,
  errors.JWKSInvalid.code,
]);
/** A role in a claim: "spire-federator:operator", or "spire-federator:operator:payments" for one federation. */
const ROLE = /^spire-federator:([a-z]+)(?::([a-z0-9-]+))?$/;

export interface OidcSettings {
  issuer: string;
  audience: string;
  /** Found by the issuer's discovery document when absent. */
  jwksUri?: string | undefined;
  /** Claim with the roles, a list of strings. */
  rolesClaim: string;
}

const discoverySchema = z.looseObject({ issuer: z.string(), jwks_uri: z.url() });

/** Bearer tokens that an OpenID Connect provider signs. */
export class OidcTokens {
  private keys: Promise<JWTVerifyGetKey> | undefined;
  private failed: { at: number; error: unknown } | undefined;

  constructor(private readonly settings: OidcSettings) {
    for (const url of [settings.issuer, settings.jwksUri].filter((each) => each !== undefined)) requireSecure(url);
  }

  /**
   * Whose token it is; undefined for one that is not good, whatever is wrong with it.
   * @throws FederatorError IssuerUnavailable when the issuer's keys cannot be had
   */
  async principal(token: string): Promise<Principal | undefined> {
    const { issuer, audience, rolesClaim } = this.settings;
    // Anybody can send anything: for what is no token the issuer is not asked.
    if (!SIGNED.test(token)) return undefined;
    try {
      const { payload } = await jwtVerify(token, await this.keySet(), {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['exp', 'sub'],
      });
      // What an issuer signs need not be of the type that it should be.
      if (typeof payload.sub !== 'string') return undefined;
      return { name: `oidc/${subject(payload, payload.sub)}`, grants: grantsOf(payload[rolesClaim]) };
    } catch (error) {
      if (error instanceof errors.JOSEError && !KEYS_MISSING.has(error.code)) return undefined;
      throw new FederatorError(
        'IssuerUnavailable',
        `The keys of issuer ${issuer} cannot be had (${(error as Error).message}), so nobody's token can be checked.`,
        { cause: error },
      );
    }
  }

  /** Found once for all who ask at the same time. */
  private keySet(): Promise<JWTVerifyGetKey> {
    if (this.keys === undefined) {
      const found = this.findKeys();
      this.keys = found;
      // Whoever asks later has it looked for again.
      found.catch((error: unknown) => {
        this.keys = undefined;
        this.failed ??= { at: Date.now(), error };
      });
    }
    return this.keys;
  }

  private async findKeys(): Promise<JWTVerifyGetKey> {
    const uri = this.settings.jwksUri ?? (await this.discover());
    return createRemoteJWKSet(new URL(uri), {
      timeoutDuration: TIMEOUT_MS,
      // Keys that are known go on being good: only who needs another one asks for it.
      [customFetch]: (url, options) => this.fetch(url, options),
    });
  }

  /** Asks the issuer, unless it could not be asked just now. */
  private async fetch(url: string, options: RequestInit): Promise<Response> {
    if (this.failed !== undefined && Date.now() - this.failed.at < AWAY_MS) throw this.failed.error;
    try {
      const answer = await fetch(url, options);
      if (answer.status !== 200) throw new Error(`${url} answers with HTTP ${answer.status}`);
      // A page that says that it is away is no answer either.
      const content: unknown = await answer.json();
      this.failed = undefined;
      return Response.json(content);
    } catch (error) {
      this.failed = { at: Date.now(), error };
      throw error;
    }
  }

  private async discover(): Promise<string> {
    const { issuer } = this.settings;
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const answer = await this.fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' });
    const document = discoverySchema.parse(await answer.json());
    if (document.issuer !== issuer) throw new Error(`${url} is of issuer ${document.issuer}`);
    requireSecure(document.jwks_uri);
    return document.jwks_uri;
  }
}

function subject(payload: JWTPayload, sub: string): string {
  const email = payload['email_verified'] === true ? payload['email'] : undefined;
  return (typeof email === 'string' ? email : sub).slice(0, 256);
}

function grantsOf(claim: unknown): Grant[] {
  const roles = Array.isArray(claim) ? claim : typeof claim === 'string' ? claim.split(' ') : [];
  return roles.flatMap((each) => {
    const [, role, federation = '*'] = ROLE.exec(String(each)) ?? [];
    const grant = grantSchema.safeParse({ role, federation });
    return grant.success ? [grant.data] : [];
  });
}

/** Keys that come in the clear may be anybody's. */
function requireSecure(url: string): void {
  const { protocol, hostname } = new URL(url);
  const isLoopback = hostname === 'localhost' || hostname === '[::1]' || /^127\./.test(hostname);
  if (protocol === 'https:' || (protocol === 'http:' && isLoopback)) return;
  throw new FederatorError('InvalidInput', `${url} must be an https URL: the keys that prove identities come from it.`);
}
