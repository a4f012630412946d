import { ApplicationFailure } from '@temporalio/workflow';
import type { ChangeResult, SetupMeshInput } from '../contract/change.js';
import { setupMesh } from './setupMesh.js';

/** Federates two clusters: setupMesh in its case of two. */
export async function setupPair(input: SetupMeshInput): Promise<ChangeResult> {
  return setupMesh(input, refuseStrangers);
}

/** Two that are no members do not come to trust all those who are, because somebody forgot to name a federation. */
function refuseStrangers({ federation, clusters }: SetupMeshInput, members: readonly string[]): void {
  if (members.length === 0 || members.some((member) => clusters.includes(member))) return;
  throw ApplicationFailure.nonRetryable(
    `Federation ${federation} has other members: ${members.join(', ')}. Nothing was changed. For a federation of ${clusters.join(' and ')} alone, name it: --federation <name>. To have all of them trust each other: npm run start-workflow setupMesh -- --federation ${federation} --clusters ${[...members, ...clusters].join(',')}`,
    'InvalidInput',
  );
}
