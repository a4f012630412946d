// Bundles dist/src/workflows for Temporal's sandbox, as the worker would do each time it starts.
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';
import { projectRoot } from './cache.mjs';
import { workflowBundles } from './workflowBundles.mjs';

const workflowsPath = path.join(projectRoot, 'dist/src/workflows/index.js');
const failureConverterPath = path.join(projectRoot, 'dist/src/encryption/encodedFailures.cjs');
const logger = new DefaultLogger('WARN');

if (existsSync(workflowsPath)) {
  const [plain, encodedFailures] = workflowBundles;
  write(plain, await bundleWorkflowCode({ workflowsPath, logger }));
  write(encodedFailures, await bundleWorkflowCode({ workflowsPath, failureConverterPath, logger }));
}

function write(name, { code }) {
  const target = path.join(projectRoot, 'dist', name);
  writeFileSync(`${target}.new`, code);
  renameSync(`${target}.new`, target);
}
