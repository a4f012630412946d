import { Command, Option } from 'commander';
import { stringify } from 'yaml';
import { roleSchema } from '../access/principal.js';
import { newToken, tokensSchema } from '../access/tokens.js';
import { addExamples } from './examples.js';
import { checked } from './options.js';

interface Options {
  name: string;
  role: string;
  federation: string[];
  days?: number;
}

/** Makes a token for the API: what the tokens file has to have of it goes to stdout, the token itself to stderr, once. */
export function apiTokenCommand(): Command {
  const command = new Command('api-token')
    .description(
      "make a token for the API: prints the tokens file's entry, and on stderr the token, which is kept nowhere",
    )
    .requiredOption('--name <name>', 'whose it is, for the audit record')
    .addOption(new Option('--role <role>', 'what it may do').choices(roleSchema.options).makeOptionMandatory())
    .option('--federation <names...>', 'in which federations (default: all)', ['*'])
    .option('--days <count>', 'after how many days it expires (default: never)', Number)
    .action(({ name, role, federation, days }: Options) => {
      const { token, sha256 } = newToken();
      const file = checked(tokensSchema, {
        tokens: [
          {
            name,
            sha256,
            grants: federation.map((each) => ({ role, federation: each })),
            ...(days === undefined ? {} : { expiresAt: expiry(days) }),
          },
        ],
      });
      process.stdout.write(stringify(file));
      console.error(`Token of ${name}, shown this once: ${token}`);
    });
  return addExamples(command, 'npm run --silent federator -- api-token --name ci --role operator > tokens.yaml');
}

/** @param days a number as somebody typed it */
function expiry(days: number): string {
  return Number.isFinite(days) && days > 0 && days < 36_500
    ? new Date(Date.now() + days * 24 * 3600 * 1_000).toISOString()
    : 'invalid --days';
}
