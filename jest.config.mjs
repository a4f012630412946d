import os from 'node:os';

/** Loops over many changes of real clusters, and many clusters at once: only `npm run test:reliability` has the time. */
const LONG = ['/test/reliability/meshFaultAtEachStep\\.', '/test/reliability/alone\\.'];

/** Sources run from TypeScript, as CommonJS: Jest needs no experimental Node flag that way. */
export default {
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testEnvironment: 'node',
  testPathIgnorePatterns: ['/node_modules/', ...(process.env['FAULT_STEPS'] === 'all' ? [] : LONG)],
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.sandbox/'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1', '^(.*/encodedFailures)\\.cjs$': '$1.cts' },
  transform: {
    '\\.[cm]?[jt]s$': [
      '@swc/jest',
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'commonjs', ignoreDynamic: false },
        sourceMaps: 'inline',
      },
    ],
  },
  // These packages come as ES modules only, or import such.
  transformIgnorePatterns: [
    '/node_modules/(?!(@kubernetes/client-node|@opentelemetry/otlp-exporter-base|content-disposition|cookie|openid-client|oauth4webapi|jose|jsonpath-plus|pure-rand)/)',
  ],
  // The slowest thing a test waits for is a sandbox that starts.
  testTimeout: 120_000,
  // For those that start no sandbox.
  maxWorkers: Math.max(2, Math.floor(os.availableParallelism() / 2)),
  runner: '<rootDir>/test/support/runner.cjs',
  reporters: ['default', '<rootDir>/test/support/summaryReporter.cjs'],
};
