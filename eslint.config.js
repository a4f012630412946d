import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Who may import whom inside src/; a folder that is not listed is src/ itself (worker.ts), which composes everything. */
const directions = {
  contract: { may: [] },
  federation: { may: ['contract'], pure: true },
  workflows: { may: ['contract', 'federation'], mayByType: ['activities'] },
  tracing: { may: ['contract', 'federation'] },
  kubernetes: { may: ['contract', 'tracing'], mayByType: ['federation'] },
  spire: { may: ['contract', 'kubernetes'], mayByType: ['federation'] },
  encryption: { may: ['contract'] },
  store: { may: ['contract', 'config', 'encryption'] },
  access: { may: ['contract', 'config'] },
  activities: { may: ['contract', 'federation', 'kubernetes', 'spire', 'config', 'store'] },
  api: { may: ['contract', 'access', 'client', 'config', 'encryption', 'memory', 'store', 'tracing'] },
  cli: { may: ['contract', 'access', 'client', 'config', 'store', 'tracing', 'version'] },
};

/** Packages and modules by which a decision would have effects. */
const effects = '^(@temporalio/|@kubernetes/|undici$|node:(fs|net|tls|http|https|child_process|timers|dns)(/|$))';
const outside = {
  regex: '^(\\.\\./)+(sandbox|test|bench)/',
  message: 'The product does not know its sandbox or its tests.',
};

/** The rule for files `depth` folders below src/<folder>; `../` from there must not leave the folder but for `may`. */
function directionRule(folder, depth) {
  const { may, mayByType = [], pure = false } = directions[folder];
  const up = '\\.\\./'.repeat(depth);
  const allowed = (names) => names.map((name) => `${name}(/|\\.js$)`).join('|') || '$.';
  const message = `src/${folder} may import ${['itself', ...may].join(', ')}${mayByType.map((name) => `, types of ${name}`).join('')}.`;
  const patterns = [
    { regex: `^${up}(?!${allowed([...may, ...mayByType])})`, message },
    ...mayByType.map((name) => ({ regex: `^${up}${name}/`, allowTypeImports: true, message })),
    ...(pure ? [{ regex: effects, message: `src/${folder} decides and has no effects.` }] : []),
  ];
  return {
    files: [`src/${folder}/${'*/'.repeat(depth - 1)}*.ts`],
    rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns }] },
  };
}

export default defineConfig(
  globalIgnores(['dist/', 'node_modules/', 'coverage/', '.sandbox/', '.temporal/']),
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Exports are named.' },
        { selector: 'CatchClause > BlockStatement[body.length=0]', message: 'An error is handled, not swallowed.' },
        {
          selector: 'ImportSpecifier[imported.name="proxyLocalActivities"]',
          message: 'Replays of it may differ: see src/workflows/regions.ts.',
        },
      ],
      // An activity or a handler is asynchronous by its interface, whether it waits or not.
      '@typescript-eslint/require-await': 'off',
      // It also refuses a Promise.all over steps of which some have nothing to do.
      '@typescript-eslint/await-thenable': 'off',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  {
    files: ['src/*.ts'],
    rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns: [outside] }] },
  },
  ...Object.keys(directions).flatMap((folder) => [directionRule(folder, 1), directionRule(folder, 2)]),
  {
    files: ['src/console/*.js'],
    languageOptions: {
      globals: Object.fromEntries(
        ['document', 'sessionStorage', 'fetch', 'URL', 'CSS', 'TextDecoderStream', 'AbortController']
          .concat([
            'setTimeout',
            'setInterval',
            'reportError',
            'addEventListener',
            'location',
            'history',
            'URLSearchParams',
          ])
          .map((name) => [name, 'readonly']),
      ),
    },
  },
  {
    files: ['**/*.{js,cjs,mjs}'],
    ignores: ['src/console/'],
    languageOptions: {
      globals: { process: 'readonly', setInterval: 'readonly', clearInterval: 'readonly', module: 'readonly' },
    },
  },
);
