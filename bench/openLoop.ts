import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';

/** More than so many answers are waited for at a time only when the other side cannot keep up. */
const CONNECTIONS = 100;
/** A timer is late by about as much. */
const TIMER_MS = 1;

export interface Answered {
  path: string;
  /** From when it was due to be sent until all of the answer was there. */
  elapsedMs: number;
  /** HTTP status, or what went wrong. */
  status: number | string;
}

/**
 * Sends GET requests at a steady rate, whatever becomes of those before (open loop): one that could not be sent in time,
 * as answers were late, counts from when it was due.
 * @param paths asked for in turns
 */
export async function openLoop(
  url: string,
  token: string,
  paths: readonly string[],
  { perSecond, seconds }: { perSecond: number; seconds: number },
): Promise<Answered[]> {
  const pool = new Pool(url, { connections: CONNECTIONS });
  const headers = { authorization: `Bearer ${token}` };
  const ask = async (path: string): Promise<number | string> => {
    try {
      const { statusCode, body } = await pool.request({ path, method: 'GET', headers });
      await body.arrayBuffer();
      return statusCode;
    } catch (error) {
      return (error as Error).message;
    }
  };
  const startedAt = performance.now();
  const answers: Promise<Answered>[] = [];
  for (let index = 0; index < perSecond * seconds; index++) {
    const due = startedAt + (index * 1_000) / perSecond;
    const ahead = due - performance.now();
    if (ahead > TIMER_MS) await delay(ahead);
    const path = paths[index % paths.length] ?? '/';
    answers.push(ask(path).then((status) => ({ path, status, elapsedMs: performance.now() - due })));
  }
  const all = await Promise.all(answers);
  await pool.close();
  return all;
}
