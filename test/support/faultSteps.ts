/**
 * Which steps a fault is injected at. All of them would take an hour for all changes, in which every run is a change of real
 * clusters; so a run takes a sample that is spread over the whole plan, another one each time, and `npm run
 * test:reliability` takes all.
 *
 * FAULT_STEPS  `all`, or how many steps for each change and kind of fault
 * FAULT_SEED   repeats a sample; each run prints its own
 */
const { FAULT_STEPS = '3', FAULT_SEED } = process.env;

const seed = FAULT_SEED === undefined ? Math.floor(Math.random() * 1000) : Number(FAULT_SEED);

/** Part of a test's name, so that a failure says how to repeat it. */
export const SAMPLE = FAULT_STEPS === 'all' ? 'every step' : `${FAULT_STEPS} steps of seed ${seed}`;

/** How long a loop over its steps may take, in milliseconds. */
export const LOOP_MS = (FAULT_STEPS === 'all' ? 180 : 20) * 60_000;

/** The steps of one loop, in the order of the plan. @param turn lets loops of one run take different steps */
export function faultSteps<T>(steps: readonly T[], turn = 0): T[] {
  return FAULT_STEPS === 'all' ? [...steps] : sample(steps, Number(FAULT_STEPS), seed + turn);
}

/** So many faults of a table, in its order; all of them as above. */
export function faultSample<T>(faults: readonly T[], count: number): T[] {
  return FAULT_STEPS === 'all' ? [...faults] : sample(faults, count, seed);
}

/** As SAMPLE, of a table of faults. */
export function sampleName(count: number): string {
  return FAULT_STEPS === 'all' ? 'all' : `${count} of seed ${seed}`;
}

/** So many of them, evenly spread; from one seed to the next each moves on by one, so that all get their turn. */
export function sample<T>(steps: readonly T[], count: number, at: number): T[] {
  const stride = Math.max(1, Math.ceil(steps.length / count));
  return steps.filter((_, index) => index % stride === at % stride);
}
