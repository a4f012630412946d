import type { ChangeResult, SetupMeshInput } from '../contract/change.js';
import { setupMesh } from './setupMesh.js';

/** Federates two clusters: setupMesh in its case of two. */
export async function setupPair(input: SetupMeshInput): Promise<ChangeResult> {
  return setupMesh(input);
}
