// What every npm script goes through, so that each works as the first command of a fresh clone.
// Nothing is imported before the check: a Node that is too old could not even load the rest.
const minimumNode = [20, 3];

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < minimumNode[0] || (major === minimumNode[0] && minor < minimumNode[1])) {
  process.stderr.write(`Node ${minimumNode.join('.')} or newer is needed; this is ${process.versions.node}\n`);
  process.exit(1);
}

import('./targets.mjs').then(({ runTarget }) => runTarget(process.argv[2], process.argv.slice(3)));
