/**
 * A worker with one fault built in: it fails, dies or hangs at one step. A process of its own, so that it can be killed
 * as a worker is killed in earnest.
 *
 * FAULT_STEP  ID of the step, as the plan names it
 * FAULT_MODE  fail: the step fails for good · kill: SIGKILL once the step has taken effect and before anybody knows ·
 *             hang: the step waits until it is cancelled, after it has taken effect
 * FAULT_UNDO  twice: every undo fails two times before it succeeds, the first time after it has taken effect ·
 *             <activity>/<cluster>: that undo fails for good
 */
import console from 'node:console';
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { NativeConnection, DefaultLogger, Runtime } from '@temporalio/worker';
import { createWorker } from '../../dist/src/worker.js';

const {
  FAULT_STEP: step,
  FAULT_MODE: mode,
  FAULT_UNDO: undo,
  TEMPORAL_ADDRESS: address,
  SPIRE_FEDERATOR_INVENTORY: inventoryFile,
} = process.env;

/** A step may take several activities, whose IDs begin with the step's. */
const isFaulty = (id) => id === step || id.startsWith(`${step}/`);

/** Undos have no step of their own: Temporal numbers them. */
const isUndo = (id) => /^\d+$/.test(id);

async function failUndo(input, next, { attempt, activityType }) {
  if (undo === `${activityType}/${input.args[0].cluster}`)
    throw ApplicationFailure.nonRetryable('the fault of the undo', 'InvalidObject');
  if (undo !== 'twice' || attempt > 2) return next(input);
  if (attempt === 1) await next(input);
  throw ApplicationFailure.retryable('the passing fault of the undo', 'KubernetesUnavailable');
}

const fault = {
  async execute(input, next) {
    const { info, cancelled } = Context.current();
    if (isUndo(info.activityId)) return failUndo(input, next, info);
    if (!isFaulty(info.activityId)) return next(input);
    if (mode === 'fail') throw ApplicationFailure.nonRetryable('the fault that was asked for', 'InvalidInput');
    const result = await next(input);
    console.log(`FAULT ${info.activityId}`);
    if (mode === 'kill') process.kill(process.pid, 'SIGKILL');
    if (mode === 'hang') {
      const beat = setInterval(() => Context.current().heartbeat(), 500);
      await cancelled.finally(() => clearInterval(beat));
    }
    return result;
  },
};

Runtime.install({ logger: new DefaultLogger('ERROR') });
const worker = await createWorker({
  connection: await NativeConnection.connect({ address }),
  namespace: 'default',
  inventoryFile,
  activityInterceptors: [() => ({ inbound: fault })],
});
console.log('Worker on task queue');
await worker.run();
