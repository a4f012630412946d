const { default: TestRunner } = require('jest-runner');

/** A sandbox takes most of two processors: its API servers, its SPIRE servers, a worker. */
const WITH_SANDBOX = /[\\/]test[\\/](sandbox|reliability)[\\/]/;

/** Runs files that start no sandbox side by side, and then the others one after the other. */
class Runner extends TestRunner {
  async runTests(tests, watcher, options) {
    const withSandbox = ({ path }) => WITH_SANDBOX.test(path);
    const others = tests.filter((test) => !withSandbox(test));
    if (others.length > 0) await super.runTests(others, watcher, options);
    await super.runTests(tests.filter(withSandbox), watcher, { serial: true });
  }
}

module.exports = Runner;
