import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import { FederatorError } from '../contract/errors.js';
import { grantSchema, type Grant, type Principal } from './principal.js';

/** Signatures by keys that only the issuer has; a shared secret (HS256) or none is nobody's signature. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const CLOCK_TOLERANCE_SECONDS = 30;
const TIMEOUT_MS = 5_000;
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
  private keys: JWTVerifyGetKey | undefined;

  constructor(private readonly settings: OidcSettings) {
    for (const url of [settings.issuer, settings.jwksUri].filter((each) => each !== undefined)) requireSecure(url);
  }

  /**
   * Whose token it is; undefined for one that is not good, whatever is wrong with it.
   * @throws FederatorError IssuerUnavailable when the issuer's keys cannot be had
   */
  async principal(token: string): Promise<Principal | undefined> {
    const { issuer, audience, rolesClaim } = this.settings;
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
      if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)) return undefined;
      throw new FederatorError(
        'IssuerUnavailable',
        `The keys of issuer ${issuer} cannot be had (${(error as Error).message}), so nobody's token can be checked.`,
        { cause: error },
      );
    }
  }

  private async keySet(): Promise<JWTVerifyGetKey> {
    if (this.keys === undefined) {
      const uri = this.settings.jwksUri ?? (await this.discover());
      this.keys = createRemoteJWKSet(new URL(uri), { timeoutDuration: TIMEOUT_MS });
    }
    return this.keys;
  }

  private async discover(): Promise<string> {
    const { issuer } = this.settings;
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' });
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
