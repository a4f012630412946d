import { Command } from 'commander';
import pc from 'picocolors';
import { FederatorClient } from '../client.js';
import { verifyInputSchema } from '../contract/change.js';
import { CHECKS, checkAnchor } from '../contract/checks.js';
import { FederatorError } from '../contract/errors.js';
import { DEFAULT_FEDERATION, edgeName } from '../contract/names.js';
import { worstVerdict, type Check, type Verdict } from '../contract/verify.js';
import { checked, inventoryClusters, requireKnown } from './options.js';

/** Exit codes: nothing is wrong, something is, it could not be told. */
const EXIT_CODES: Readonly<Record<Verdict, number>> = { ok: 0, warning: 1, failed: 1, unknown: 2 };

interface DiagnoseOptions {
  federation: string;
  cluster?: string;
  edge?: string;
  inventory?: string;
  output?: string;
}

/** What `diagnose` says of a check: what was seen, and all that is known about it. */
interface Explained extends Check {
  cause?: string;
  command?: string;
  anchor: string;
}

/** `diagnose`: what is wrong, why, and what to do about it; changes nothing. */
export function diagnoseCommand(): Command {
  return new Command('diagnose')
    .description('what is wrong, why, and the command for it; changes nothing; exit code 0, 1, or 2: could not look')
    .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
    .option('--cluster <name>', 'only what is about this cluster')
    .option('--edge <edge>', 'only one edge: <trusting>:<trusted>, or <trusting>←<trusted>')
    .option('--inventory <file>', 'inventory file')
    .option('-o, --output <format>', 'json: print it as JSON')
    .addHelpText('after', '\nExample:\n  npm run federator -- diagnose --federation prod --edge client-1:server-1')
    .action(async (options: DiagnoseOptions) => {
      try {
        await diagnose(options);
      } catch (error) {
        if (!(error instanceof FederatorError)) throw error;
        console.error(error.message);
        process.exitCode = EXIT_CODES.unknown;
      }
    });
}

async function diagnose({ federation, cluster, edge, inventory, output }: DiagnoseOptions): Promise<void> {
  if (output !== undefined && output !== 'json') {
    throw new FederatorError('InvalidInput', `There is no output format ${output}. There is: json.`);
  }
  const ends = edge === undefined ? undefined : parseEdge(edge);
  requireKnown([...(cluster === undefined ? [] : [cluster]), ...(ends ?? [])], await inventoryClusters(inventory));
  const client = await FederatorClient.connect();
  try {
    const diagnosis = await client.diagnose(checked(verifyInputSchema, { federation }));
    const outside = [...(cluster === undefined ? [] : [cluster]), ...(ends ?? [])].filter(
      (name) => !diagnosis.clusters.includes(name),
    );
    if (outside.length > 0) {
      throw new FederatorError(
        'NotFound',
        `${outside.join(', ')} is no member of federation ${federation}. Its members: ${diagnosis.clusters.join(', ')}.`,
      );
    }
    const removed = diagnosis.findings.filter(({ check }) => check === 'member-removed');
    const all: Check[] = [
      ...diagnosis.checks,
      ...removed.map(({ check: name, ...rest }): Check => ({
        name,
        scope: rest.scope,
        verdict: 'failed',
        evidence: rest.evidence,
        remedy: rest.remedy,
      })),
    ];
    const checks = all.filter((check) => isAsked(check, cluster, ends));
    const verdict = worstVerdict(checks);
    process.exitCode = EXIT_CODES[verdict];
    const wrong = checks.filter((check) => check.verdict !== 'ok').map((check) => explain(federation, check));
    if (output === 'json') {
      console.log(
        JSON.stringify(
          { federation, clusters: diagnosis.clusters, verdict, checks: checks.length, wrong },
          undefined,
          2,
        ),
      );
      return;
    }
    for (const each of wrong) console.log(`${text(each)}\n`);
    console.log(
      `Federation ${federation}: ${wrong.length === 0 ? 'nothing is wrong' : `${wrong.length} of ${checks.length} checks are not ok`}.`,
    );
  } finally {
    await client.close();
  }
}

function parseEdge(edge: string): [string, string] {
  const [trusting, trusted, ...rest] = edge.split(/[:←]/);
  if (!trusting || !trusted || rest.length > 0 || trusting === trusted) {
    throw new FederatorError('InvalidInput', `${edge} is no edge. Write <trusting>:<trusted>, e.g. client-1:server-1.`);
  }
  return [trusting, trusted];
}

/** An edge depends on what its two clusters are like, so their own checks belong to it. */
function isAsked({ scope }: Check, cluster: string | undefined, ends: [string, string] | undefined): boolean {
  if (ends !== undefined && scope !== edgeName(...ends) && !ends.includes(scope)) return false;
  return cluster === undefined || scope.split('←').includes(cluster);
}

function explain(federation: string, check: Check): Explained {
  const known = CHECKS[check.name];
  return {
    ...check,
    ...(known === undefined ? {} : { cause: known.cause, command: known.command(federation) }),
    anchor: checkAnchor(check.name),
  };
}

function text({ scope, name, verdict, evidence, cause, remedy, command, anchor }: Explained): string {
  return [
    `${pc.bold(`${name} of ${scope}`)}: ${verdict === 'failed' ? pc.red(verdict) : pc.yellow(verdict)}`,
    `  seen    ${evidence}`,
    ...(cause === undefined ? [] : [`  cause   ${cause}`]),
    ...(remedy === undefined ? [] : [`  remedy  ${remedy}`]),
    ...(command === undefined ? [] : [`  look    ${command}`]),
    pc.dim(`  more    ${anchor}`),
  ].join('\n');
}
