/**
 * Prints `N passed, N failed` (and `, N skipped`) as the last line of a run. A test file that could not run at all counts
 * as failed, and so does a run without a test.
 */
class SummaryReporter {
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    this.failed = failed > 0 || results.numPassedTests === 0;
    const parts = [`${results.numPassedTests} passed`, `${failed} failed`];
    if (skipped > 0) parts.push(`${skipped} skipped`);
    // After Jest's own summary, which it writes to stderr and flushes first.
    this.line = parts.join(', ');
    process.on('exit', () => process.stdout.write(`${this.line}\n`));
  }

  getLastError() {
    return this.failed ? new Error('not all tests passed') : undefined;
  }
}

module.exports = SummaryReporter;
