import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { FederatorClient, type ChangeHandle } from '../client.js';
import { federationName } from '../contract/change.js';
import { FederatorError } from '../contract/errors.js';
import { DEFAULT_FEDERATION, edgeName } from '../contract/names.js';
import type { RotateWatchReport, RotationProof } from '../contract/rotation.js';
import { rotateWatchInputSchema } from '../contract/rotationSettings.js';
import { REFRESH_COLUMNS, refreshCells, seconds } from '../contract/refreshTable.js';
import { pc } from './colours.js';
import { detachment, sayDetached } from './detach.js';
import { durationOf } from './duration.js';
import { addExamples } from './examples.js';
import { EXIT_CODES } from './exitCodes.js';
import { stepLine } from './follow.js';
import { addTimeoutOption, addWaitOptions, checked, type FollowOptions } from './options.js';
import { addOutputOption, isTable, printResult } from './output.js';
import { formatTable } from './table.js';

const LOOK_MS = 1_000;

export interface RotateOptions extends FollowOptions {
  federation: string;
  rotations?: number;
  for?: number;
  rotate?: string;
  revoke?: boolean;
  holdTimeout?: number;
  settle?: number;
  wait?: boolean;
}

/** What a watch over refreshes takes, on `rotate-watch` and on `start-workflow rotateWatch`. */
export function addRotateOptions(command: Command, prefix = ''): Command {
  return command
    .option('--rotations <count>', `${prefix}end when every edge was refreshed so often (default: 3)`, Number)
    .option('--for <duration>', `${prefix}end after this at the latest, e.g. 90s, 10m, 2h`, durationOf('--for'))
    .option('--rotate <cluster>', `${prefix}rotate the CA of this member meanwhile, so that no edge breaks`)
    .option('--revoke', `${prefix}with --rotate: taint and revoke the old CA afterwards`)
    .option('--hold-timeout <seconds>', `${prefix}how long the peers may take to hold the next CA`, Number)
    .option(
      '--settle <seconds>',
      `${prefix}how long workloads have for new SVIDs before the old CA is revoked`,
      Number,
    );
}

/** `rotate-watch`: counts bundle refreshes, and rotates a CA safely. */
export function rotateWatchCommand(): Command {
  const command = new Command('rotate-watch')
    .description('count bundle refreshes on all members at once; with --rotate, rotate a CA safely, with proof')
    .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
    .option('--attach', 'follow the one that runs, or show how the last one ended')
    .option('--stop', 'end the one that runs');
  return addExamples(
    addRotateOptions(addTimeoutOption(addWaitOptions(addOutputOption(command)))),
    'npm run federator -- rotate-watch --federation prod --rotations 5',
    'npm run federator -- rotate-watch --federation prod --rotate server-1 --revoke',
  ).action((options: RotateOptions & { attach?: boolean; stop?: boolean }) => rotateWatch(options));
}

/** Starts, follows or ends a watch over refreshes. */
export async function rotateWatch(options: RotateOptions & { attach?: boolean; stop?: boolean }): Promise<void> {
  const { wait = true } = options;
  const federation = checked(federationName, options.federation);
  const input = checked(rotateWatchInputSchema, inputOf(options));
  const client = await FederatorClient.connect();
  try {
    if (options.stop === true) {
      await client.stopRotateWatch(federation);
      printResult({ federation, rotateWatch: 'ends' }, options, () =>
        console.log(`The watch over the refreshes of federation ${federation} ends.`),
      );
      return;
    }
    const isAttached = options.attach === true;
    const handle = isAttached ? await client.findRotateWatch(federation) : await client.startRotateWatch(input);
    if (!wait) {
      printResult(handle, options, () => console.log(`Started ${handle.workflowId}: ${handle.link}`));
      return;
    }
    if (isTable(options)) console.error(`rotateWatch ${federation}: ${handle.link}\n`);
    const report = await follow(client, handle, options);
    if (report === undefined) return;
    printResult({ ...report, link: handle.link }, options, () => console.log(reportText(report)));
    process.exitCode = report.complete ? EXIT_CODES.ok : EXIT_CODES.failed;
  } finally {
    await client.close();
  }
}

function inputOf(options: RotateOptions): Record<string, unknown> {
  const { federation, rotations, for: forMs, rotate, revoke, holdTimeout, settle } = options;
  if (rotate === undefined && (revoke === true || holdTimeout !== undefined || settle !== undefined)) {
    throw new FederatorError(
      'InvalidInput',
      'Say with --rotate <cluster> whose CA is to be rotated: --revoke, --hold-timeout and --settle are about that.',
    );
  }
  return {
    federation,
    ...(rotations === undefined ? {} : { rotations }),
    ...(forMs === undefined ? {} : { forMs }),
    ...(rotate === undefined
      ? {}
      : {
          rotate: {
            cluster: rotate,
            revoke: revoke ?? false,
            ...(holdTimeout === undefined ? {} : { holdTimeoutMs: holdTimeout * 1000 }),
            ...(settle === undefined ? {} : { settleMs: settle * 1000 }),
          },
        }),
  };
}

/** Shows it until it ends. Ctrl-C and the timeout detach. @returns the report, or undefined when it was detached from */
async function follow(
  client: FederatorClient,
  handle: ChangeHandle,
  options: FollowOptions,
): Promise<RotateWatchReport | undefined> {
  const ended = new AbortController();
  const detached = detachment(options, ended.signal);
  const result = client.rotateWatchResult(handle);
  const outcome = Promise.race([result, detached]).finally(() => ended.abort());
  outcome.catch(() => undefined);
  result.catch(() => undefined);
  await show(client, handle, ended.signal, !isTable(options));
  const report = await outcome;
  if (typeof report === 'object') return report;
  sayDetached(report, handle, options, `rotate-watch --federation ${handle.federation} --attach`);
  return undefined;
}

/** The counts as one line that is renewed, and the steps of a rotation as they end. */
async function show(client: FederatorClient, handle: ChangeHandle, ended: AbortSignal, quiet: boolean): Promise<void> {
  const shown = new Set<string>();
  const live = process.stderr.isTTY && !quiet;
  const clear = () => live && process.stderr.write('\r\x1b[K');
  while (!ended.aborted) {
    const report = quiet ? undefined : await client.refreshes(handle.federation);
    const steps = report === undefined ? [] : await client.rotationSteps(handle.federation, report.since);
    for (const step of steps) {
      const key = `${step.id} ${step.state}`;
      if (!['done', 'unchanged', 'failed'].includes(step.state) || shown.has(key)) continue;
      shown.add(key);
      clear();
      console.error(stepLine(step));
    }
    if (report !== undefined && live) {
      clear();
      process.stderr.write(`  ${pc.dim(oneLine(report))}`);
    }
    await delay(LOOK_MS, undefined, { signal: ended }).catch(() => undefined);
  }
  clear();
}

function oneLine({ refreshes, failures, edges, intervals, since, until }: RotateWatchReport): string {
  const least = Math.min(...edges.map((edge) => edge.refreshes));
  return `${refreshes} refreshes (${least} or more per edge), ${failures} failed, median ${seconds(intervals.medianMs)}, ${Math.round((until - since) / 1000)} s`;
}

/** The report as people read it. */
export function reportText(report: RotateWatchReport): string {
  const { edges, refreshes, failures, intervals, since, until, gaps, problems, rotation, complete, rotations } = report;
  return [
    formatTable(REFRESH_COLUMNS, edges.map(refreshCells)),
    '',
    `${refreshes} refreshes on ${edges.length} edges in ${Math.round((until - since) / 1000)} s, ${failures} failed; ${intervals.count} intervals: min ${seconds(intervals.minMs)}, median ${seconds(intervals.medianMs)}, p95 ${seconds(intervals.p95Ms)}`,
    ...edges.flatMap(({ trusting, trusted, lastError }) =>
      lastError === undefined ? [] : [`${edgeName(trusting, trusted)}: ${lastError}`],
    ),
    ...gaps.map(
      ({ cluster, from, to }) =>
        `${cluster}: its log from ${new Date(from).toISOString()} to ${new Date(to).toISOString()} is lost with a pod`,
    ),
    ...Object.values(problems),
    ...(rotation === undefined ? [] : ['', rotationText(rotation)]),
    ...(complete
      ? []
      : [
          '',
          pc.red(
            `Not complete: ${rotations === undefined ? 'not all keys are equal, or a log was lost' : `not every edge was refreshed ${rotations} times with equal keys and no gap`}.`,
          ),
        ]),
  ].join('\n');
}

function rotationText(rotation: RotationProof): string {
  const { cluster, oldAuthority, newAuthority, edges, preparedAt } = rotation;
  const after = (ms: number | undefined) => (ms === undefined ? '-' : `+${((ms - preparedAt) / 1000).toFixed(1)} s`);
  const rows = edges.map((edge) => [
    edgeName(edge.trusting, edge.trusted),
    `${after(edge.heldAt)}${edge.forced === 0 ? '' : ` (${edge.forced} by force)`}`,
    after(edge.freshAfterActivationAt),
    after(edge.freshAfterRevocationAt),
  ]);
  const times = [
    `prepared ${new Date(preparedAt).toISOString()}`,
    `activated ${after(rotation.activatedAt)}`,
    ...(rotation.revokedAt === undefined
      ? []
      : [`tainted ${after(rotation.taintedAt)}`, `revoked ${after(rotation.revokedAt)}`]),
  ];
  return [
    `CA of ${cluster}: ${oldAuthority.slice(0, 16)} → ${newAuthority.slice(0, 16)}; ${times.join(', ')}`,
    formatTable(['edge', 'held the next CA', 'fresh with it', 'fresh without the old'], rows),
  ].join('\n');
}
