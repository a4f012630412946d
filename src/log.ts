import { inspect, types } from 'node:util';
import {
  DefaultLogger,
  LogTimestamp,
  type Logger,
  type LogLevel as TemporalLevel,
  type LogMetadata,
} from '@temporalio/worker';
import { pino } from 'pino';
import type { LogLevel } from './config.js';
import { federationOf } from './contract/names.js';
import { redactText } from './federation/redaction.js';

/** Of what Temporal's SDK tells with a line: what nobody looks for, or what dumps whole objects. */
const LEFT_OUT = new Set([
  'sdkComponent',
  'namespace',
  'taskQueue',
  'taskToken',
  'isLocal',
  'options',
  'task',
  'taskEncoded',
]);
/** What the SDK calls it, and what a line calls it. */
const NAMES: Readonly<Record<string, string>> = {
  workflowRunId: 'runId',
  workflowType: 'workflow',
  activityType: 'activity',
  activityId: 'step',
  error: 'err',
};
/** Errors of these names are raised on purpose: where they come from in the code says nothing. */
const EXPECTED = new Set([
  'ApplicationFailure',
  'FederatorError',
  'ActivityFailure',
  'ChildWorkflowFailure',
  'CancelledFailure',
]);

/** What the native part of Temporal's SDK logs goes where the rest goes. */
export const nativeLogging = { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } } as const;

/**
 * Where the worker, its activities and Temporal's SDK write their log, without secrets: on a terminal lines for people,
 * else a line of JSON each, of the same form as the API's.
 */
export interface WorkerLog {
  temporal: Logger;
  /** What is told whatever the level is: that the worker runs, and on what. */
  announce: (message: string) => void;
}

export function workerLog(
  level: LogLevel,
  { terminal = process.stdout.isTTY, write }: { terminal?: boolean; write?: (line: string) => void } = {},
): WorkerLog {
  if (terminal) {
    const temporal = new DefaultLogger(level.toUpperCase() as TemporalLevel, ({ level: at, message, meta = {} }) => {
      const fields = inspect(logFields(meta), { breakLength: Infinity }).replace(/^\{\}$/, '');
      console.error(`${new Date().toISOString()} ${at} ${redactText(message)} ${fields}`.trimEnd());
    });
    return { temporal, announce: (message) => console.log(message) };
  }
  // Errors are told as fields already.
  const options = { level, serializers: { err: (told: unknown) => told } };
  const json = write === undefined ? pino(options) : pino(options, { write });
  const log = (at: TemporalLevel, message: string, meta: LogMetadata = {}) => {
    const as = at.toLowerCase() as LogLevel;
    if (json.isLevelEnabled(as)) json[as](logFields(meta), redactText(message));
  };
  const temporal: Logger = {
    log,
    trace: (message, meta) => log('TRACE', message, meta),
    debug: (message, meta) => log('DEBUG', message, meta),
    info: (message, meta) => log('INFO', message, meta),
    warn: (message, meta) => log('WARN', message, meta),
    error: (message, meta) => log('ERROR', message, meta),
  };
  return { temporal, announce: (message) => json.child({}, { level: 'info' }).info(message) };
}

/** The fields of a line: which workflow, activity, federation and cluster it is about, and an error's type and message. */
function logFields(meta: LogMetadata): Record<string, unknown> {
  const { [LogTimestamp]: _at, ...rest } = meta;
  const federation = federationOf(String(meta['workflowId'] ?? ''));
  return {
    ...(federation === undefined ? {} : { federation }),
    ...Object.fromEntries(
      Object.entries(rest)
        .filter(([name, value]) => value !== undefined && !LEFT_OUT.has(name))
        .map(([name, value]) => [NAMES[name] ?? name, logValue(value)]),
    ),
  };
}

function logValue(value: unknown): unknown {
  // An error from the workflows' thread is of another realm, where instanceof knows nothing of it.
  if (types.isNativeError(value)) return logError(value);
  if (typeof value === 'string') return redactText(value);
  if (typeof value !== 'object' || value === null) return value;
  // Anything at all may be in it: it is cut where it gets deep.
  return redactText(inspect(value, { depth: 2, breakLength: Infinity, maxStringLength: 2_000 }));
}

/** An error with what caused it, of which the innermost says what happened. */
function logError(error: Error): object {
  const { type } = error as { type?: unknown };
  // Of an error from the workflows' thread the class is left only in its stack.
  const [, name = error.name] = /^(\w+): /.exec(error.stack ?? '') ?? [];
  return {
    type: typeof type === 'string' ? type : name,
    message: redactText(error.message),
    ...(EXPECTED.has(name) ? {} : { stack: redactText(error.stack ?? '') }),
    ...(types.isNativeError(error.cause) ? { cause: logError(error.cause) } : {}),
  };
}
