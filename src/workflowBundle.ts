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

/** Those that are built. */
export const WORKFLOW_BUNDLES: readonly BundleOptions[] = [false, true].flatMap((traces) =>
  [false, true].map((encodedFailures) => ({ encodedFailures, traces })),
);
