import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { FederatorError } from '../contract/errors.js';
import { parsePairEnd } from '../contract/probePair.js';
import {
  parseWorkloadReference,
  showWorkloadInputSchema,
  type KeysPresent,
  type PodFacts,
  type TrustReport,
  type WorkloadReference,
  type WorkloadReport,
} from '../contract/workload.js';
import { errorColours, pc } from './colours.js';
import { addExamples } from './examples.js';
import { addInventoryOption, checked, inventoryClusters, requireKnown } from './options.js';
import { addOutputOption, isTable, printResult, type OutputOptions } from './output.js';
import { formatTable } from './table.js';

interface ShowOptions extends OutputOptions {
  cluster?: string;
  inventory?: string;
}

/** `workload show`: the identity of a workload, where it comes from, and if it has none, why. */
export function workloadCommand(): Command {
  const show = new Command('show')
    .description(
      'a workload: its registration entries, the policy each came from, the SVID and the bundles it holds, and if it has no identity, why',
    )
    .argument('<workload>', '[<cluster>:]<namespace>/<pod>, or the UID of a pod, or a SPIFFE ID in place of that')
    .option('--cluster <name>', 'look on this cluster only')
    .action(showWorkload);
  addExamples(
    addOutputOption(addInventoryOption(show)),
    'npm run federator -- workload show my-app/frontend --cluster client-1',
  );
  return new Command('workload').description('workloads and their identities').addCommand(show);
}

async function showWorkload(text: string, { inventory, ...options }: ShowOptions): Promise<void> {
  const known = await inventoryClusters(inventory);
  const { cluster, workload } = askedFor(text, options.cluster);
  if (cluster !== undefined) requireKnown([cluster], known);
  const input = checked(showWorkloadInputSchema, {
    workload,
    clusters: cluster === undefined ? known : [cluster],
    peers: known,
  });
  const client = await FederatorClient.connect();
  try {
    const result = await client.showWorkload(input);
    printResult(result, options, () => {
      for (const report of result.reports) printWorkload(report);
    });
    if (result.morePods > 0 && isTable(options))
      console.log(pc.yellow(`${result.morePods} more pods have this identity.`));
    for (const { message } of result.unknown) console.error(errorColours.yellow(message));
    if (result.reports.length === 0) {
      const asked = input.clusters.filter((name) => !result.unknown.some((each) => each.cluster === name));
      throw new FederatorError(
        'NotFound',
        asked.length === 0
          ? 'No cluster could be asked.'
          : `There is no workload ${text} on ${asked.join(', ')}. A pod is named <namespace>/<pod>.`,
      );
    }
    if (result.reports.some(({ entries }) => entries.length === 0)) process.exitCode = 1;
  } finally {
    await client.close();
  }
}

/** The workload, and the cluster where one is named: before it, as probe has it, or by the option. */
export function askedFor(
  text: string,
  named: string | undefined,
): { cluster?: string; workload: WorkloadReference | undefined } {
  const end = parsePairEnd(text);
  if (end !== undefined && named !== undefined && end.cluster !== named)
    throw new FederatorError('InvalidInput', `${text} is of ${end.cluster}, and --cluster says ${named}.`);
  const cluster = end?.cluster ?? named;
  return {
    workload: end?.workload ?? parseWorkloadReference(text),
    ...(cluster === undefined ? {} : { cluster }),
  };
}

function printWorkload({ cluster, pod, entries, policies, trust, findings }: WorkloadReport): void {
  console.log(`${pc.bold(`${pod.namespace}/${pod.name}`)} on ${cluster}`);
  console.log(
    pc.dim(`  UID ${pod.uid}, service account ${pod.serviceAccount}, ${pod.phase}, node ${pod.nodeName ?? 'none'}`),
  );
  if (entries.length === 0) console.log(pc.red('\n  No registration entry: it has no identity.'));
  for (const { spiffeId, federatesWith, hint, from } of entries) {
    console.log(`\n  SPIFFE ID       ${pc.green(spiffeId)}${hint === '' ? '' : ` (hint ${hint})`}`);
    console.log(`  federates with  ${federatesWith.join(', ') || 'nobody'}`);
    console.log(
      `  from            ${from === undefined ? 'no ClusterSPIFFEID that would make it so' : `ClusterSPIFFEID ${from}`}`,
    );
  }
  printHeld(pod);
  if (trust.length > 0) console.log(`\n${trustTable(trust, pod)}`);
  const rows = policies.map(({ name, effect }) => [name, effect === 'applies' ? pc.green(effect) : effect]);
  console.log(`\n${formatTable(['ClusterSPIFFEID', 'effect on this pod'], rows)}`);
  for (const { evidence, remedy } of findings) console.log(`\n${pc.yellow(evidence)}\n  ${remedy}`);
  console.log('');
}

/** The SVID that the workload was seen to hold, or why it was not. */
function printHeld({ held }: PodFacts): void {
  if ('unread' in held) {
    console.log(`\n  SVID held       ${pc.yellow('not seen')}: ${held.unread}`);
    return;
  }
  const until = Date.parse(held.expiresAt) <= Date.now() ? pc.red(`expired ${held.expiresAt}`) : held.expiresAt;
  console.log(`\n  SVID held       ${pc.green(held.spiffeIds.join(', '))}`);
  console.log(`  valid until     ${until}`);
  console.log(pc.dim(`  seen by         ${held.source}`));
}

function trustTable(trust: readonly TrustReport[], { held }: PodFacts): string {
  const rows = trust.map(({ trustDomain, cluster, stored, held: has, wanted }) => [
    wanted ? trustDomain : pc.yellow(`${trustDomain} (not wanted)`),
    cluster ?? pc.yellow('not in the inventory, or not to be asked'),
    stored === undefined ? '' : keys(stored),
    'unread' in held ? pc.dim('not seen') : has === undefined ? pc.yellow('cannot be compared') : keys(has),
  ]);
  return formatTable(['trusts', 'cluster', 'keys in SPIRE server', 'keys in the workload'], rows);
}

function keys({ present, of }: KeysPresent): string {
  const text = `${present} of ${of} current`;
  return present === of ? pc.green(text) : pc.red(text);
}
