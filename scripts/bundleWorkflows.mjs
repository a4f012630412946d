// Bundles dist/src/workflows for Temporal's sandbox, as the worker would do each time it starts.
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';
import { projectRoot } from './cache.mjs';

const workflowsPath = path.join(projectRoot, 'dist/src/workflows/index.js');
const target = path.join(projectRoot, 'dist/workflow-bundle.js');

if (existsSync(workflowsPath)) {
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('WARN') });
  writeFileSync(`${target}.new`, code);
  renameSync(`${target}.new`, target);
}
