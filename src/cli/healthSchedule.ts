import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import type { HealthSchedules } from '../client/healthSchedules.js';
import { federationName } from '../contract/change.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import type { HealthSchedule } from '../contract/scheduledHealth.js';
import { DEFAULT_SCHEDULE, healthScheduleSchema } from '../contract/scheduledHealthSettings.js';
import { pc } from './colours.js';
import { addExamples } from './examples.js';
import { checked } from './options.js';
import { addOutputOption, printResult, type OutputOptions } from './output.js';
import { formatTable } from './table.js';

interface NamedOptions extends OutputOptions {
  federation: string;
  name: string;
}

interface ScheduleOptions extends NamedOptions {
  every?: string;
  cron?: string;
  timezone?: string;
  probe?: boolean;
  replace?: boolean;
}

/** `health …`: looks at a federation at regular times, and who is told of them. */
export function healthCommand(): Command {
  const named = (name: string, description: string, example = '') =>
    addExamples(
      addOutputOption(
        new Command(name)
          .description(description)
          .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
          .option('--name <name>', 'name of the schedule', DEFAULT_SCHEDULE),
      ),
      `npm run federator -- health ${name} --federation prod${example}`,
    );
  return new Command('health')
    .description('look at a federation at regular times, and tell a webhook when the verdict changes')
    .addCommand(
      named('schedule', 'make a schedule of looks at a federation', ' --every 10m')
        .option('--every <interval>', 'e.g. 90s, 10m, 2h, 1d')
        .option('--cron <expression>', 'five fields, e.g. "0 6 * * 1-5"')
        .option('--timezone <zone>', 'of the cron expression, e.g. Europe/Berlin (default: UTC)')
        .option('--probe', 'also prove mTLS between test workloads, which are made for some seconds')
        .option('--replace', 'take the place of the schedule of that name')
        .action(schedule),
    )
    .addCommand(
      addExamples(
        addOutputOption(
          new Command('list')
            .description('the schedules, and what their newest looks came to')
            .option('--federation <name>', 'only of this federation'),
        ),
        'npm run federator -- health list',
      ).action(list),
    )
    .addCommand(
      named('run', 'look at a federation now').action((options: NamedOptions) =>
        change(options, 'looks now: see "health list"', (schedules, federation, name) =>
          schedules.trigger(federation, name),
        ),
      ),
    )
    .addCommand(
      named('pause', 'look at a federation no more until it is resumed', ' --reason maintenance')
        .requiredOption('--reason <text>', 'why')
        .action((options: NamedOptions & { reason: string }) =>
          change(options, 'is paused', (schedules, federation, name) =>
            schedules.pause(federation, name, options.reason),
          ),
        ),
    )
    .addCommand(
      named('resume', 'go on after a pause').action((options: NamedOptions) =>
        change(options, 'goes on', (schedules, federation, name) => schedules.resume(federation, name)),
      ),
    )
    .addCommand(
      named('remove', 'delete a schedule of looks').action((options: NamedOptions) =>
        change(options, 'is deleted', (schedules, federation, name) => schedules.remove(federation, name)),
      ),
    );
}

async function schedule(options: ScheduleOptions): Promise<void> {
  const { output = 'table', ...given } = options;
  const settings = checked(healthScheduleSchema, given);
  await withSchedules((schedules) => schedules.create(settings));
  printResult(settings, { output }, () =>
    console.log(`Federation ${settings.federation} is looked at by schedule ${settings.name}.`),
  );
}

async function list({ federation, ...options }: OutputOptions & { federation?: string }): Promise<void> {
  const name = federation === undefined ? undefined : checked(federationName, federation);
  await withSchedules(async (schedules) => {
    const found = await schedules.list(name);
    printResult(found, options, () =>
      console.log(
        found.length === 0
          ? 'There is no schedule. Make one: npm run federator -- health schedule --federation prod --every 10m'
          : formatTable(['federation', 'schedule', 'when', 'next', 'last', 'verdict', 'told'], found.map(row)),
      ),
    );
  });
}

function row({ federation, name, when, probe, paused, next, last }: HealthSchedule): string[] {
  const report = last?.report;
  return [
    federation,
    name,
    `${when}${probe ? ', with probe' : ''}`,
    paused === undefined ? (next ?? '') : pc.yellow(`paused: ${paused}`),
    last?.at ?? '',
    report === undefined
      ? (last?.status.toLowerCase() ?? '')
      : (report.verdict ?? `not looked: ${report.skipped ?? ''}`),
    report?.notified ?? '',
  ];
}

async function change(
  options: NamedOptions,
  done: string,
  act: (schedules: HealthSchedules, federation: string, name: string) => Promise<void>,
): Promise<void> {
  const [federation, name] = [checked(federationName, options.federation), checked(federationName, options.name)];
  await withSchedules((schedules) => act(schedules, federation, name));
  printResult({ federation, name, done }, options, () =>
    console.log(`Schedule ${name} of federation ${federation} ${done}.`),
  );
}

async function withSchedules(use: (schedules: HealthSchedules) => Promise<void>): Promise<void> {
  const client = await FederatorClient.connect();
  try {
    await use(client.healthSchedules);
  } finally {
    await client.close();
  }
}
