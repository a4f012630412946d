/** What workflows are bundled with. */
export interface BundleOptions {
  /** Messages of failures are put into payloads, which are encrypted then. */
  encodedFailures: boolean;
  /** Workflows pass traces on. */
  traces: boolean;
}

/** Name of a prebuilt bundle of src/workflows in dist/. */
export function workflowBundle({ encodedFailures, traces }: BundleOptions): string {
  return `workflow-bundle${traces ? '-traces' : ''}${encodedFailures ? '-encoded-failures' : ''}.js`;
}

/**
 * How long workflow code may take for one step, an option of the SDK's that its types leave out. Its 5 s are meant for code
 * that hangs, but count while a machine is overloaded or asleep, and Node.js aborts the worker's whole process when they
 * are over (nodejs/node#38503: the stack of async hooks is corrupted).
 */
export const ACTIVATION_LIMIT = { isolateExecutionTimeout: '2 minutes' } as const;

/** Those that are built. */
export const WORKFLOW_BUNDLES: readonly BundleOptions[] = [false, true].flatMap((traces) =>
  [false, true].map((encodedFailures) => ({ encodedFailures, traces })),
);
