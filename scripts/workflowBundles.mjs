/** Bundles of the workflows in dist/: with failures as they are, and with failures in payloads, which can be encrypted. */
export const workflowBundles = ['workflow-bundle.js', 'workflow-bundle-encoded-failures.js'];
