import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { up } from '../sandbox/client.js';
import { setupPairInputSchema } from '../src/contract/change.js';
import type { FederationHealth, RepairRecord } from '../src/contract/health.js';
import { EDGE_FAULTS, type EdgeFault } from '../test/support/edgeFaults.js';
import { Engine } from './engine.js';
import { median } from './measure.js';
import type { Figure } from './report.js';

const FEDERATION = 'bench';
const CLUSTERS = ['client-1', 'server-1'] as const;
/** The shortest that SPIRE knows: it polls, and the monitor looks, at a quarter of it. */
const REFRESH_HINT_S = 60;
const INTERVAL_S = REFRESH_HINT_S / 4;
const SAMPLES = 3;
const LOOK_MS = 200;
const HEALED_WITHIN_MS = 4 * 60_000;

/** Aimed at from the finding to its end, in seconds: without and with a restart of SPIRE server. */
const REPAIRED_WITHIN_S = { other: 10, restart: 30 };
/** The case that SPIRE never mends has an aim from the fault to its end, in seconds. */
const WHOLE_S = { 'CA changed while cut off': INTERVAL_S + 15 } as Readonly<Record<string, number>>;

/** How long faults last until the monitor has found them, and until they are repaired, at the shortest interval. */
export async function benchRepair(directory: string): Promise<Figure[]> {
  await up({ directory, clusters: CLUSTERS.length });
  const engine = await Engine.start(directory, path.join('dist', 'src', 'worker.js'));
  try {
    await engine.change(
      'setupPair',
      setupPairInputSchema.parse({
        federation: FEDERATION,
        clusters: [...CLUSTERS],
        refreshHintSeconds: REFRESH_HINT_S,
        probe: false,
        monitor: true,
      }),
    );
    const figures: Figure[] = [];
    for (const fault of EDGE_FAULTS) figures.push(...(await measure(engine, directory, fault)));
    await engine.client.stopMonitor(FEDERATION);
    return figures;
  } finally {
    await engine.stop();
  }
}

async function measure(engine: Engine, directory: string, fault: EdgeFault): Promise<Figure[]> {
  const place = { directory, trusting: CLUSTERS[0], trusted: CLUSTERS[1] };
  const id = fault.finds(place);
  const times: { found: number; repaired: number }[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    const before = await until(engine, ({ verdict, findings }) => verdict === 'ok' && findings.length === 0);
    // Not in step with the monitor's rounds.
    await delay(((sample + 0.5) / SAMPLES) * INTERVAL_S * 1000);
    await fault.make(place);
    const madeAt = Date.now();
    let foundAt: number | undefined;
    const record = (health: FederationHealth): RepairRecord | undefined =>
      health.repairs.find(({ findingId, startedAt }) => findingId === id && startedAt >= madeAt);
    const healed = await until(engine, (health) => {
      foundAt ??= health.findings.find((each) => each.id === id)?.since;
      return record(health)?.outcome === 'healed' && health.verdict === 'ok';
    });
    const { startedAt = 0, durationMs = 0 } = record(healed) ?? {};
    // What is repaired at once may never have been seen as a finding.
    const found = foundAt ?? startedAt;
    times.push({ found: (found - madeAt) / 1000, repaired: (startedAt + durationMs - found) / 1000 });
    if (healed.rounds <= before.rounds) throw new Error('the monitor has not looked since');
  }
  const found = times.map((each) => each.found);
  const repaired = times.map((each) => each.repaired);
  const whole = times.map((each) => each.found + each.repaired);
  const wholeTarget = WHOLE_S[fault.name];
  return [
    { name: `${fault.name}: found`, value: median(found), unit: 's', target: INTERVAL_S + 5, samples: found },
    { name: '  found, at most', value: Math.max(...found), unit: 's', target: 2 * INTERVAL_S },
    {
      name: '  repaired after that',
      value: median(repaired),
      unit: 's',
      target: isRestart(fault) ? REPAIRED_WITHIN_S.restart : REPAIRED_WITHIN_S.other,
      samples: repaired,
    },
    ...(wholeTarget === undefined
      ? []
      : [{ name: '  from end to end', value: median(whole), unit: 's', target: wholeTarget, samples: whole }]),
  ];
}

function isRestart({ action }: EdgeFault): boolean {
  return action === 'restart' || action === 'restoreServerConf';
}

async function until(engine: Engine, isWanted: (health: FederationHealth) => boolean): Promise<FederationHealth> {
  const deadline = Date.now() + HEALED_WITHIN_MS;
  let seen: FederationHealth | undefined;
  while (Date.now() < deadline) {
    seen = await engine.client.health(FEDERATION);
    if (isWanted(seen)) return seen;
    await delay(LOOK_MS);
  }
  throw new Error(`the federation has not become as wanted: ${JSON.stringify(seen?.findings)}`);
}
