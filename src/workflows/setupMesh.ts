import type { ChangeResult, SetupMeshInput } from '../contract/change.js';
import { resolveSettings } from '../federation/settings.js';
import { readFederation, usesOf } from './facts.js';
import { Progress } from './progress.js';
import { setUp } from './setup.js';

/** Federates any number of clusters with each other, or each with a hub. */
export async function setupMesh(input: SetupMeshInput): Promise<ChangeResult> {
  const progress = new Progress();
  const { federation } = input;
  const facts = await readFederation(federation, input.clusters, usesOf(input));
  const { relationships, refreshHintSeconds, hub } = resolveSettings(input, federation, facts);
  return setUp({ ...input, relationships, refreshHintSeconds, hub }, facts, progress);
}
