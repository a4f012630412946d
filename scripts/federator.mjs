#!/usr/bin/env node
// The package's own command (npm link, npx federator): as `npm run federator`, from wherever it is called.
process.argv.splice(2, 0, 'federator');
await import('./run.mjs');
