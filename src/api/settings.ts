import path from 'node:path';
import { z } from 'zod';
import { apiAddressSchema, zodIssues } from '../config.js';
import { FederatorError } from '../contract/errors.js';

const settingsSchema = z
  .object({
    SPIRE_FEDERATOR_API_ADDRESS: apiAddressSchema,
    SPIRE_FEDERATOR_API_TOKENS: z.string().min(1).optional(),
    SPIRE_FEDERATOR_OIDC_ISSUER: z.url().optional(),
    SPIRE_FEDERATOR_OIDC_AUDIENCE: z.string().min(1).optional(),
    SPIRE_FEDERATOR_OIDC_JWKS_URI: z.url().optional(),
    SPIRE_FEDERATOR_OIDC_ROLES_CLAIM: z.string().min(1).default('roles'),
    SPIRE_FEDERATOR_AUDIT_LOG: z.string().min(1).default('audit.jsonl'),
    SPIRE_FEDERATOR_API_REQUESTS_PER_SECOND: z.coerce.number().int().positive().default(500),
  })
  .superRefine((settings, context) => {
    const fault = (name: keyof typeof settings, message: string) =>
      context.addIssue({ code: 'custom', path: [name], message });
    if (settings.SPIRE_FEDERATOR_OIDC_ISSUER !== undefined && settings.SPIRE_FEDERATOR_OIDC_AUDIENCE === undefined)
      fault('SPIRE_FEDERATOR_OIDC_AUDIENCE', 'is needed with an issuer: tokens for others would be good here too');
    if (settings.SPIRE_FEDERATOR_API_TOKENS === undefined && settings.SPIRE_FEDERATOR_OIDC_ISSUER === undefined)
      fault(
        'SPIRE_FEDERATOR_API_TOKENS',
        'is not set, nor is SPIRE_FEDERATOR_OIDC_ISSUER: nobody could be let in. Make a tokens file: npm run federator -- api-token --name me --role admin > tokens.yaml',
      );
  });

export interface ApiSettings {
  host: string;
  port: number;
  tokensFile?: string | undefined;
  oidc?: { issuer: string; audience: string; jwksUri?: string | undefined; rolesClaim: string };
  auditLog: string;
  requestsPerSecond: number;
}

/** @throws FederatorError InvalidInput with every fault at once */
export function apiSettings(environment: NodeJS.ProcessEnv = process.env): ApiSettings {
  // A variable that is passed on is empty where nobody has set it.
  const set = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const result = settingsSchema.safeParse(set);
  if (!result.success) throw new FederatorError('InvalidInput', `The API cannot start:\n${zodIssues(result.error)}`);
  const {
    SPIRE_FEDERATOR_API_ADDRESS: { host, port },
    SPIRE_FEDERATOR_API_TOKENS: tokens,
    SPIRE_FEDERATOR_OIDC_ISSUER: issuer,
    SPIRE_FEDERATOR_OIDC_AUDIENCE: audience,
    SPIRE_FEDERATOR_OIDC_JWKS_URI: jwksUri,
    SPIRE_FEDERATOR_OIDC_ROLES_CLAIM: rolesClaim,
    SPIRE_FEDERATOR_AUDIT_LOG: auditLog,
    SPIRE_FEDERATOR_API_REQUESTS_PER_SECOND: requestsPerSecond,
  } = result.data;
  return {
    host,
    port,
    tokensFile: tokens === undefined ? undefined : path.resolve(tokens),
    ...(issuer === undefined || audience === undefined ? {} : { oidc: { issuer, audience, jwksUri, rolesClaim } }),
    auditLog: path.resolve(auditLog),
    requestsPerSecond,
  };
}
