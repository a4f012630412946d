import { Context } from '@temporalio/activity';
import { FederatorError } from '../contract/errors.js';
import { redactText } from '../federation/redaction.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { readLog } from '../kubernetes/log.js';
import { podReason, readPod, waitForRollout, type Pod } from '../kubernetes/rollout.js';
import { serverTarget } from '../spire/server.js';

/**
 * A server that does not start says why last: in a line of its log, of which it may print a summary. What comes before may
 * be of another start.
 */
const LAST_LINES = 2;
const WORDS_LENGTH = 300;
/** Of what is looked through for secrets: far more than is said, so that none of them is cut in half. */
const LINE_LENGTH = 2_000;
/** SPIRE logs as text or as JSON (spire: `log_format`); its very last line, on its error output, has no level. */
const ERROR_LINE = /\blevel"?[=:]\s*"?(error|fatal|panic)\b/;
/** Another one with every start, of the same words. */
const TIME = /\btime=("[^"]*"|\S+)\s*|,?\s*"time":\s*"[^"]*"/;

/** Why SPIRE server is not ready: as its pod's status has it and, where it ends again and again, in its own words. */
export async function whyDown(connection: ClusterConnection, pod: Pod): Promise<string> {
  return `${podReason(pod.metadata.name, pod)}${await lastWords(connection, pod)}`;
}

/** Once may be a restart that went wrong; it is a loop when it ended again. */
export function isCrashLooping(pod: Pod, container: string): boolean {
  const status = pod.status?.containerStatuses?.find(({ name }) => name === container);
  return status?.state?.waiting?.reason === 'CrashLoopBackOff' && status.restartCount > 0;
}

/**
 * Waits until SPIRE server's pod runs the newest revision and is ready.
 * @throws FederatorError TimedOut, with what keeps it from running
 */
export async function awaitRollout(connection: ClusterConnection, timeoutMs: number): Promise<void> {
  const { namespace, server: name } = connection.cluster;
  try {
    await waitForRollout(connection, { namespace, name }, { timeoutMs, signal: Context.current().cancellationSignal });
  } catch (error) {
    if (!(error instanceof FederatorError && error.type === 'TimedOut')) throw error;
    throw new FederatorError('TimedOut', `${error.message}${await lastWords(connection)}`);
  }
}

/** What a server that ends again and again said last; nothing where that cannot be read, which is not what is asked. */
async function lastWords(connection: ClusterConnection, known?: Pod): Promise<string> {
  const target = serverTarget(connection);
  try {
    const pod = known ?? (await readPod(connection, target.namespace, target.pod));
    if (pod === undefined || !isCrashLooping(pod, target.container)) return '';
    const words = wordsOf(await readLog(connection, target, { tailLines: LAST_LINES }));
    return words === undefined ? '' : `; its log says: ${words}`;
  } catch (error) {
    if (error instanceof FederatorError) return '';
    throw error;
  }
}

/** The error that a log ends with, else its last line, without the time and without secrets. */
export function wordsOf(lines: readonly string[]): string | undefined {
  const line = lines.slice(-LAST_LINES).findLast((each) => ERROR_LINE.test(each)) ?? lines.at(-1);
  return line === undefined
    ? undefined
    : redactText(line.slice(0, LINE_LENGTH).replace(TIME, '')).slice(0, WORDS_LENGTH);
}
