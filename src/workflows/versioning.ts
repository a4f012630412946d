import type { WorkflowDefinitionOptions } from '@temporalio/common';
import { workflowInfo } from '@temporalio/workflow';

/** Of a workflow that goes on with the current version, where workers have versions: Temporal refuses it of others. */
export function movesOn(): WorkflowDefinitionOptions {
  // A worker without versions has a build ID all the same, of no deployment.
  return workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior: 'AUTO_UPGRADE' } : {};
}
