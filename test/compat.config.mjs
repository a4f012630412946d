import path from 'node:path';
import { fileURLToPath } from 'node:url';
import base from '../jest.config.mjs';

/** What the sandboxes of a run are made with, as `npm run sandbox -- up --spire-version` takes it. */
const COMBINATIONS = [
  { displayName: 'SPIRE 1.15.2', spireVersions: ['1.15.2'] },
  { displayName: 'SPIRE 1.13.3', spireVersions: ['1.13.3'] },
  { displayName: 'SPIRE 1.13.3 and 1.15.2', spireVersions: ['client-1=1.13.3'] },
];

/** Tests that the engine's use of SPIRE passes through: setting up, verifying, probing, tearing down; watching and mending. */
const TESTS = ['setupPair', 'repair'];

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

const { reporters, maxWorkers, ...project } = base;

/** `npm run test:compat`: the same tests once per version of SPIRE, and once with one of each in one federation. */
export default {
  rootDir: ROOT,
  reporters,
  maxWorkers,
  projects: COMBINATIONS.map(({ displayName, spireVersions }) => ({
    ...project,
    rootDir: ROOT,
    displayName,
    globals: { spireVersions },
    testMatch: TESTS.map((name) => `<rootDir>/test/**/${name}.test.ts`),
  })),
};
