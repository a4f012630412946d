import { createHash, randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { zodIssues } from '../config.js';
import { FederatorError } from '../contract/errors.js';
import { grantSchema, type Principal } from './principal.js';

const PREFIX = 'sf_';
const TOKEN_BYTES = 32;

/** The tokens file. */
export const tokensSchema = z
  .strictObject({
    tokens: z
      .array(
        z.strictObject({
          name: z.string().regex(/^[\w.@-]{1,64}$/, 'letters, digits and . _ - @, 64 at most'),
          /** Of the token, in hex: tokens have 256 random bits, so that a plain hash of them cannot be reversed. */
          sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hex'),
          grants: z.array(grantSchema).min(1),
          expiresAt: z.iso.datetime().optional(),
        }),
      )
      .min(1),
  })
  .refine(({ tokens }) => new Set(tokens.map(({ name }) => name)).size === tokens.length, 'names a token twice');

export type ApiToken = z.infer<typeof tokensSchema>['tokens'][number];

/** A new token, and what the tokens file has to have of it. */
export function newToken(): { token: string; sha256: string } {
  const token = PREFIX + randomBytes(TOKEN_BYTES).toString('base64url');
  return { token, sha256: sha256(token) };
}

/** Static tokens of a file, which is read again when it changes: so a token is revoked without a restart. */
export class TokenFile {
  private loaded: { stamp: number; tokens: ReadonlyMap<string, ApiToken> } | undefined;
  /** What is wrong with it since. */
  private fault: string | undefined;

  constructor(
    private readonly file: string,
    private readonly warn: (message: string) => void = console.error,
  ) {}

  /** @throws FederatorError InvalidInput with every fault of the file */
  async read(): Promise<ReadonlyMap<string, ApiToken>> {
    const stamp = await this.modified();
    if (this.loaded?.stamp !== stamp) {
      const tokens = await readTokens(this.file);
      this.loaded = { stamp, tokens: new Map(tokens.map((token) => [token.sha256, token])) };
    }
    return this.loaded.tokens;
  }

  /** Those of the file, or those that it had before it had a fault: an edit must not lock everybody out. */
  private async current(): Promise<ReadonlyMap<string, ApiToken>> {
    try {
      const tokens = await this.read();
      this.fault = undefined;
      return tokens;
    } catch (error) {
      if (this.loaded === undefined) throw error;
      const { message } = error as Error;
      if (this.fault !== message)
        this.warn(`${message}\nUntil that is mended, the tokens are good that it had before.`);
      this.fault = message;
      return this.loaded.tokens;
    }
  }

  /** Whose token it is; undefined for one that is unknown or has expired. */
  async principal(token: string): Promise<Principal | undefined> {
    if (!token.startsWith(PREFIX)) return undefined;
    // Looked up by its hash, so that how long it takes tells nothing of the tokens.
    const known = (await this.current()).get(sha256(token));
    if (known === undefined) return undefined;
    if (known.expiresAt !== undefined && Date.parse(known.expiresAt) <= Date.now()) return undefined;
    return { name: `token/${known.name}`, grants: known.grants };
  }

  private async modified(): Promise<number> {
    try {
      return (await stat(this.file)).mtimeMs;
    } catch (error) {
      throw unreadable(this.file, error);
    }
  }
}

async function readTokens(file: string): Promise<ApiToken[]> {
  let document: unknown;
  try {
    document = parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw unreadable(file, error);
  }
  const result = tokensSchema.safeParse(document);
  if (result.success) return result.data.tokens;
  throw new FederatorError('InvalidInput', `Tokens file ${file} has faults:\n${zodIssues(result.error)}`);
}

function unreadable(file: string, error: unknown): FederatorError {
  const { code } = error as NodeJS.ErrnoException;
  const isMissing = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`;
  const why = error instanceof YAMLParseError ? 'is not YAML' : isMissing;
  return new FederatorError(
    'InvalidInput',
    `Tokens file ${file} ${why}. Make one with: npm run federator -- api-token --name NAME --role viewer > ${file}`,
  );
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
