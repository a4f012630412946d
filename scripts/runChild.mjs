import { spawn } from 'node:child_process';
import { UserError } from './progress.mjs';

const running = new Set();

/**
 * Runs a command to its end and returns what it printed.
 * Its process group ends with this process, so an interrupted build leaves no compiler behind.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<{ code: number, stdout: string, output: string }>} code 0 is success; output has stderr as well
 */
export function capture(command, args, { cwd, env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    running.add(child);
    let stdout = '';
    let output = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
      output += chunk;
    });
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => {
      running.delete(child);
      reject(error.code === 'ENOENT' ? new UserError(`${command} was not found on the PATH`) : error);
    });
    child.on('close', (code) => {
      running.delete(child);
      resolve({ code: code ?? 1, stdout, output });
    });
  });
}

/** Ends every command that `capture` still runs, with the processes it started. */
export function endRunning() {
  for (const child of running) {
    try {
      process.kill(-child.pid, 'SIGTERM');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }
}

/**
 * The last lines of a log, for an error message.
 * @param {string} log
 * @param {number} [lines]
 */
export function tail(log, lines = 15) {
  return log.trimEnd().split('\n').slice(-lines).join('\n');
}

/**
 * Runs a command in the foreground with this process's own input and output, passing signals on.
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<{ code: number | null, signal: NodeJS.Signals | null }>}
 */
export function foreground(command, args, env = process.env) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', env });
    const forward = (signal) => child.kill(signal);
    // A terminal sends its interrupt to the child as well: passing it on would make it two.
    const interrupt = (signal) => {
      if (!process.stdin.isTTY) forward(signal);
    };
    const handlers = { SIGINT: interrupt, SIGTERM: forward, SIGHUP: forward };
    for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      for (const [name, handler] of Object.entries(handlers)) process.removeListener(name, handler);
      resolve({ code, signal });
    });
  });
}
