import { Command } from 'commander';
import pc from 'picocolors';
import { FederatorClient } from '../client.js';
import type { HealthSchedules } from '../client/healthSchedules.js';
import { federationName } from '../contract/change.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import type { HealthSchedule } from '../contract/scheduledHealth.js';
import { DEFAULT_SCHEDULE, healthScheduleSchema } from '../contract/scheduledHealthSettings.js';
import { checked } from './options.js';
import { formatTable } from './table.js';

interface NamedOptions {
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
  const named = (name: string, description: string) =>
    new Command(name)
      .description(description)
      .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
      .option('--name <name>', 'name of the schedule', DEFAULT_SCHEDULE);
  return new Command('health')
    .description('look at a federation at regular times, and tell a webhook when the verdict changes')
    .addCommand(
      named('schedule', 'make a schedule')
        .option('--every <interval>', 'e.g. 90s, 10m, 2h, 1d')
        .option('--cron <expression>', 'five fields, e.g. "0 6 * * 1-5"')
        .option('--timezone <zone>', 'of the cron expression, e.g. Europe/Berlin (default: UTC)')
        .option('--probe', 'also prove mTLS between test workloads, which are made for some seconds')
        .option('--replace', 'take the place of the schedule of that name')
        .addHelpText('after', '\nExample:\n  npm run federator -- health schedule --federation prod --every 10m')
        .action(schedule),
    )
    .addCommand(
      new Command('list')
        .description('the schedules, and what their newest looks came to')
        .option('--federation <name>', 'only of this federation')
        .option('--json', 'print them as JSON')
        .action(list),
    )
    .addCommand(
      named('run', 'look now').action((options: NamedOptions) =>
        change(options, 'looks now: see "health list"', (schedules, federation, name) =>
          schedules.trigger(federation, name),
        ),
      ),
    )
    .addCommand(
      named('pause', 'look no more until it is resumed')
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
      named('remove', 'delete a schedule').action((options: NamedOptions) =>
        change(options, 'is deleted', (schedules, federation, name) => schedules.remove(federation, name)),
      ),
    );
}

async function schedule(options: ScheduleOptions): Promise<void> {
  const settings = checked(healthScheduleSchema, options);
  await withSchedules((schedules) => schedules.create(settings));
  console.log(`Federation ${settings.federation} is looked at by schedule ${settings.name}.`);
}

async function list({ federation, json = false }: { federation?: string; json?: boolean }): Promise<void> {
  const name = federation === undefined ? undefined : checked(federationName, federation);
  await withSchedules(async (schedules) => {
    const found = await schedules.list(name);
    if (json) return console.log(JSON.stringify(found, undefined, 2));
    if (found.length === 0)
      return console.log(
        'There is no schedule. Make one: npm run federator -- health schedule --federation prod --every 10m',
      );
    console.log(formatTable(['federation', 'schedule', 'when', 'next', 'last', 'verdict', 'told'], found.map(row)));
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
  console.log(`Schedule ${name} of federation ${federation} ${done}.`);
}

async function withSchedules(use: (schedules: HealthSchedules) => Promise<void>): Promise<void> {
  const client = await FederatorClient.connect();
  try {
    await use(client.healthSchedules);
  } finally {
    await client.close();
  }
}
