import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporal } from '@temporalio/proto';

const { History } = temporal.api.history.v1;
export type History = temporal.api.history.v1.IHistory;

const FOLDER = path.resolve(__dirname, '../histories');
const EXTENSION = '.json';

/** Histories that are kept with the code: what was begun by an earlier version must go on with this one. */
export interface CommittedHistory {
  /** Its file without the extension: what was done, and the workflow's type. */
  name: string;
  type: string;
  history: History;
  /** Of its file. */
  bytes: number;
}

export function committedHistories(): CommittedHistory[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(EXTENSION))
    .sort()
    .map((file) => {
      const text = readFileSync(path.join(FOLDER, file), 'utf8');
      const history = History.fromObject(JSON.parse(text) as object);
      return { name: path.basename(file, EXTENSION), type: workflowType(history), history, bytes: text.length };
    });
}

function workflowType(history: History): string {
  return history.events?.[0]?.workflowExecutionStartedEventAttributes?.workflowType?.name ?? '';
}

/** Drops all that were committed. */
export function dropHistories(): void {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER);
}

/** Writes a history, an event a line; protobuf's enums by their names, bytes in base64. */
export function commitHistory(name: string, history: History): void {
  const options = { enums: String, longs: String, bytes: String };
  const { events } = History.toObject(History.fromObject(history), options) as { events: object[] };
  const lines = events.map((event) => JSON.stringify(commandsOnly(event)));
  writeFileSync(path.join(FOLDER, `${name}${EXTENSION}`), `{"events":[\n${lines.join(',\n')}\n]}\n`);
}

/** What replaying does not look at: names of this machine's workers and files are among it. */
const NOT_REPLAYED: Record<string, readonly string[]> = {
  '*': [
    'header',
    'identity',
    'meteringMetadata',
    'requestId',
    'retryPolicy',
    'stackTrace',
    'taskId',
    'userMetadata',
    'workerVersion',
  ],
  activityTaskScheduledEventAttributes: [
    'input',
    'taskQueue',
    'useWorkflowBuildId',
    'scheduleToCloseTimeout',
    'scheduleToStartTimeout',
    'startToCloseTimeout',
    'heartbeatTimeout',
  ],
  workflowTaskScheduledEventAttributes: ['taskQueue'],
  workflowTaskStartedEventAttributes: ['historySizeBytes'],
  workflowExecutionCompletedEventAttributes: ['result'],
  workflowExecutionContinuedAsNewEventAttributes: ['input'],
};

function commandsOnly(event: object): unknown {
  const attributes = Object.entries(event).map(([name, member]: [string, unknown]) => [
    name,
    without(new Set(NOT_REPLAYED[name]), member),
  ]);
  return without(new Set(NOT_REPLAYED['*']), Object.fromEntries(attributes));
}

function without(names: ReadonlySet<string>, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => without(names, each));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !names.has(name))
      .map(([name, member]) => [name, without(names, member)]),
  );
}

/** All texts of a history, payloads decoded. */
export function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (value instanceof Uint8Array) return [new TextDecoder().decode(value)];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsOf);
}

/** Temporal's identities (`<process>@<host>`), paths of files, and where code failed. */
const OF_A_MACHINE = /\b\d+@[\w.-]+|file:\/\/|(?:^|[\s"'(=])\/(?:home|root|Users|tmp|work|var|check)\/|node_modules/;

/** What must not be in a history that others are given: where, and by whom, it was made. */
export function tracesOfAMachine({ history }: CommittedHistory): string[] {
  return textsOf(history).filter((text) => OF_A_MACHINE.test(text));
}
