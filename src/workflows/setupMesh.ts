import type { ChangeResult, SetupMeshInput } from '../contract/change.js';
import { resolveSettings } from '../federation/settings.js';
import { awaitNoRepair } from './engine.js';
import { readFederation, usesOf } from './facts.js';
import { Progress } from './progress.js';
import { setUp } from './setup.js';

/**
 * Federates any number of clusters with each other, or each with a hub.
 * @param check refuses what is asked for, by the names of the members there are
 */
export async function setupMesh(
  input: SetupMeshInput,
  check: (input: SetupMeshInput, members: readonly string[]) => void = () => {},
): Promise<ChangeResult> {
  const progress = new Progress();
  const { federation } = input;
  // What a repair is in the middle of would be taken for what was there before.
  if (!input.planOnly) await awaitNoRepair(federation, input.timeouts);
  const facts = await readFederation(federation, input.clusters, usesOf(input));
  check(
    input,
    facts.filter((each) => each.federation === federation).map(({ cluster }) => cluster),
  );
  const { relationships, refreshHintSeconds, hub } = resolveSettings(input, federation, facts);
  return setUp({ ...input, relationships, refreshHintSeconds, hub }, facts, progress);
}
