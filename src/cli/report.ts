import { stringify } from 'yaml';
import type { ChangeResult, FederationFile, PlannedStep, ProbeSummary, StepAction } from '../contract/change.js';
import type { PairVerdict } from '../contract/probePair.js';
import type { Check, Verdict, VerifyResult } from '../contract/verify.js';
import { edgeName } from '../contract/names.js';
import { worstVerdict } from '../contract/verify.js';
import { pc } from './colours.js';
import { formatTable } from './table.js';

/** Marks of what a step does, as in a diff. */
const ACTIONS: Readonly<Record<Exclude<StepAction, 'check' | 'none'>, string>> = {
  create: pc.green('+ create '),
  change: pc.yellow('~ change '),
  restart: pc.yellow('↻ restart'),
  delete: pc.red('- remove '),
};

const VERDICTS: Readonly<Record<Verdict, string>> = {
  ok: pc.green('ok'),
  warning: pc.yellow('warning'),
  failed: pc.red('failed'),
  unknown: pc.yellow('unknown'),
};

/** Prints what came of a change. */
export function printChange(result: ChangeResult): void {
  if (result.pair !== undefined) printPair(result, result.pair);
  else if (result.planned) printPlan(result);
  else printOutcome(result);
  if (result.file !== undefined) printAdoption(result, result.file);
  for (const line of result.leftAlone) console.log(pc.dim(`Left alone: ${line}`));
  for (const line of result.notes ?? []) console.log(pc.yellow(`Note: ${line}`));
}

/** Two workloads, what was tried between them, and what it says. */
function printPair({ probes }: ChangeResult, { from, to, outcome, reasons }: PairVerdict): void {
  const workloads = [from, to].map(({ cluster, pod, spiffeIds, federatesWith }) => [
    cluster,
    `${pod.namespace}/${pod.name}`,
    spiffeIds.join(', '),
    federatesWith.join(', ') || pc.yellow('nobody'),
  ]);
  console.log(`\n${formatTable(['cluster', 'workload', 'SPIFFE ID', 'federates with'], workloads)}`);
  const rows = probes.map(({ from: cluster, ok, outcome: seen, pair }) => [
    cluster,
    pair?.what ?? '',
    pair?.expected === 'refusal' ? 'refusal' : 'mTLS',
    ok ? pc.green(seen) : pc.red(seen),
  ]);
  console.log(`\n${formatTable(['on', 'a test workload', 'by the entries', 'outcome'], rows)}\n`);
  const name = ({ cluster, pod }: PairVerdict['from']) => `${pod.namespace}/${pod.name} of ${cluster}`;
  const both = `${name(from)} and ${name(to)}`;
  if (outcome === 'handshake') console.log(pc.green(`${both} can speak mTLS with each other.`));
  else if (outcome === 'refusal') console.log(pc.yellow(`${both} cannot speak mTLS with each other:`));
  else console.log(pc.red(`Between ${both} not everything is as their registration entries say.`));
  for (const reason of reasons) console.log(`  ${reason}`);
}

/** What adopt found, what would mend it, and the federation as a file to go on with. */
function printAdoption({ findings = [], mending = [] }: ChangeResult, file: FederationFile): void {
  if (findings.length === 0) console.log('\nNothing is odd or missing.');
  else {
    const rows = findings.map(({ scope, name, evidence, remedy = '' }) => [scope, name, evidence, remedy]);
    console.log(`\nFound, and left as it is:\n${formatTable(['where', 'what', 'evidence', 'remedy'], rows)}`);
  }
  if (mending.length > 0) {
    console.log('\nWhat setupMesh, or apply with the file below, would do:');
    for (const line of mending.flatMap(planLines)) console.log(line);
  }
  console.log(`\nThe federation as a file:\n\n${stringify(file).trimEnd()}`);
}

/** A plan as a diff: by cluster what would be done, and how much is as it must be. */
function printPlan({ federation, changed, steps }: ChangeResult): void {
  console.log(`Plan for federation ${federation}. Nothing was changed.`);
  for (const cluster of new Set(steps.map((each) => each.cluster))) {
    const own = steps.filter((each) => each.cluster === cluster);
    const lines = own.flatMap(planLines);
    const asItIs = own.filter(({ action }) => action === 'none').length;
    const checks = own.filter(({ action }) => action === 'check').length;
    if (lines.length === 0 && cluster === 'all') continue;
    console.log(`\n${pc.bold(cluster)}`);
    for (const line of lines) console.log(line);
    console.log(pc.dim(`  = ${asItIs} as it must be, ${checks} to be checked`));
  }
  console.log(changed ? '' : '\nEverything is as it must be already: running it would change nothing.');
}

function planLines({ action, title, details = [] }: PlannedStep): string[] {
  if (action === 'check' || action === 'none') return [];
  return [`  ${ACTIONS[action]} ${title}`, ...details.map((line) => pc.dim(`              ${line}`))];
}

function printOutcome({ federation, changed, members, probes }: ChangeResult): void {
  const onlyProbed = members.length === 0 && probes.length > 0;
  if (onlyProbed) console.log(`\nFederation ${federation}:`);
  else
    console.log(
      changed
        ? `\nFederation ${federation}: done.`
        : `\nFederation ${federation}: everything was as it must be already. Nothing was changed.`,
    );
  if (members.length > 0) {
    const rows = members.map(({ cluster, trustDomain, fingerprint, restarted, endpointUrl }) => [
      cluster,
      trustDomain,
      fingerprint,
      restarted ? 'yes' : 'no',
      endpointUrl,
    ]);
    console.log(`\n${formatTable(['cluster', 'trust domain', 'bundle', 'restarted', 'bundle endpoint'], rows)}`);
  }
  if (probes.length > 0) console.log(`\n${probeTable(probes)}`);
}

/** Few handshakes are listed; many are a matrix of who reached whom, with what went wrong below. */
function probeTable(probes: readonly ProbeSummary[]): string {
  const names = [...new Set(probes.flatMap(({ from, to }) => [from, to]))];
  if (names.length <= 2) {
    const rows = probes.map(({ from, to, federated, ok, outcome }) => [
      from,
      to,
      federated ? 'federated' : 'not federated',
      ok ? pc.green(outcome) : pc.red(outcome),
    ]);
    return formatTable(['mTLS from', 'to', 'workload', 'outcome'], rows);
  }
  const cell = (from: string, to: string): string => {
    const found = probes.filter((each) => each.from === from && each.to === to);
    if (found.length === 0) return pc.dim('·');
    const took = /in (\d+ ms)/.exec(found.find(({ federated }) => federated)?.outcome ?? '')?.[1] ?? '';
    return found.every(({ ok }) => ok) ? pc.green(`✓ ${took}`) : pc.red('✗');
  };
  const matrix = formatTable(
    ['mTLS from \\ to', ...names],
    names.map((from) => [from, ...names.map((to) => cell(from, to))]),
  );
  const wrong = probes
    .filter(({ ok }) => !ok)
    .map(
      ({ from, to, federated, outcome }) => `${from} → ${to}, ${federated ? 'federated' : 'not federated'}: ${outcome}`,
    );
  const isProbed = (from: string, to: string) => probes.some((each) => each.from === from && each.to === to);
  const legend = [
    ...(probes.some(({ ok }) => ok)
      ? [
          '✓ the federated workload shook hands, both SPIFFE IDs verified, and the one that is not federated was refused',
        ]
      : []),
    ...(names.some((from) => names.some((to) => from !== to && !isProbed(from, to)))
      ? [
          '· not probed: nothing is new between them, they do not trust each other, or a given address is the only way in',
        ]
      : []),
  ].map((line) => pc.dim(line));
  return [matrix, ...legend, ...wrong.map((line) => pc.red(line))].join('\n');
}

/**
 * Prints the checks of a verification, and where something is wrong, what to do about it. Of more than two clusters the
 * edges are a matrix, and only what is not well is listed, unless all is asked for.
 */
export function printVerification(result: VerifyResult, { all = false }: { all?: boolean } = {}): void {
  const { federation, clusters, verdict, checks } = result;
  const isMatrix = clusters.length > 2;
  if (isMatrix) console.log(`${edgeMatrix(result)}\n`);
  const listed = isMatrix && !all ? checks.filter((check) => check.verdict !== 'ok') : checks;
  const rows = listed.map(({ scope, name, verdict: each, evidence }) => [scope, name, VERDICTS[each], evidence]);
  if (rows.length > 0) console.log(formatTable(['where', 'check', 'verdict', 'evidence'], rows));
  if (listed.length < checks.length) {
    console.log(pc.dim(`${checks.length - listed.length} of ${checks.length} checks are ok (--all lists them).`));
  }
  const wrong = checks.filter((check): check is Check & { remedy: string } => check.remedy !== undefined);
  if (wrong.length > 0) console.log('\nWhat to do:');
  for (const { scope, name, remedy } of wrong) console.log(`  ${scope}: ${name}: ${remedy}`);
  console.log(`\nFederation ${federation} of ${clusters.join(', ')}: ${VERDICTS[verdict]}`);
}

/** Who trusts whom: the worst verdict of each edge's checks. */
function edgeMatrix({ clusters, checks }: VerifyResult): string {
  const cell = (trusting: string, trusted: string): string => {
    const own = checks.filter(({ scope }) => scope === edgeName(trusting, trusted));
    return own.length === 0 ? pc.dim('·') : VERDICTS[worstVerdict(own)];
  };
  return formatTable(
    ['trusts ↓  trusted →', ...clusters],
    clusters.map((trusting) => [trusting, ...clusters.map((trusted) => cell(trusting, trusted))]),
  );
}
