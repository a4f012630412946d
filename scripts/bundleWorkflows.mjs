// Bundles dist/src/workflows for Temporal's sandbox, as the worker would do each time it starts.
import { Buffer } from 'node:buffer';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';
import { projectRoot } from './cache.mjs';

const workflowsPath = path.join(projectRoot, 'dist/src/workflows/index.js');
/** How webpack marks its inline source map. */
const SOURCE_MAP = '//# sourceMappingURL=data:application/json;charset=utf-8;base64,';
const failureConverterPath = path.join(projectRoot, 'dist/src/encryption/encodedFailures.cjs');
const workflowInterceptorModules = [path.join(projectRoot, 'dist/src/workflows/traces.js')];
const logger = new DefaultLogger('WARN');

if (existsSync(workflowsPath)) {
  const { WORKFLOW_BUNDLES, workflowBundle } = await import('../dist/src/workflowBundle.js');
  for (const bundle of WORKFLOW_BUNDLES) {
    const options = {
      workflowsPath,
      logger,
      ...(bundle.encodedFailures ? { failureConverterPath } : {}),
      ...(bundle.traces ? { workflowInterceptorModules } : {}),
    };
    write(workflowBundle(bundle), await bundleWorkflowCode(options));
  }
}

function write(name, { code }) {
  const target = path.join(projectRoot, 'dist', name);
  writeFileSync(`${target}.new`, withoutSources(code));
  renameSync(`${target}.new`, target);
}

/** Stack traces need the mappings only; a worker would hold all sources in memory, twice. */
function withoutSources(bundle) {
  const [code, map] = bundle.split(SOURCE_MAP);
  if (map === undefined) throw new Error('the workflow bundle has no inline source map');
  const mappings = { ...JSON.parse(Buffer.from(map.trim(), 'base64').toString()), sourcesContent: undefined };
  return `${code}${SOURCE_MAP}${Buffer.from(JSON.stringify(mappings)).toString('base64')}`;
}
