import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { parse } from 'yaml';
import { clusterTable, listedClusters } from '../../src/cli/clusters.js';
import { hasColours } from '../../src/cli/colours.js';
import { commandReference, helpOf } from '../../src/cli/commandReference.js';
import { allCommands, leafCommands } from '../../src/cli/commandTree.js';
import { completable } from '../../src/cli/completable.js';
import { bashCompletion, fishCompletion, zshCompletion } from '../../src/cli/completionScripts.js';
import { durationOf } from '../../src/cli/duration.js';
import { chooseRepairs } from '../../src/cli/fix.js';
import { encoded } from '../../src/cli/output.js';
import { federationOf } from '../../src/cli/probe.js';
import { federatorProgram } from '../../src/cli/program.js';
import { askedFor } from '../../src/cli/workload.js';
import type { Finding, OpenFinding } from '../../src/contract/health.js';

/** What prints no result: a file, a script, or what goes on. */
const WITHOUT_RESULT = ['api-token', 'completion', 'up'];

const leaves = () => leafCommands(federatorProgram());

describe('every command', () => {
  it.each(leaves().map(({ path: name, command }) => [name, command]))(
    '%s shows an example in its help',
    (name, command) => {
      const [, examples = ''] = helpOf(command).split(/^Examples?:$/m);
      expect(examples).toContain(name.split(' ')[0]);
      expect(examples).toMatch(/^ {2}\S/m);
    },
  );

  it.each(leaves().filter(({ path: name }) => !WITHOUT_RESULT.includes(name)))(
    '$path prints its result as a table, JSON or YAML',
    ({ command }) => {
      const output = command.options.find(({ long }) => long === '--output');
      expect(output).toMatchObject({ short: '-o', argChoices: ['table', 'json', 'yaml'], defaultValue: 'table' });
      expect(command.options.map(({ long }) => long)).toContain('--json');
    },
  );

  it('is in docs/commands.md as it is (npm run docs)', () => {
    expect(readFileSync('docs/commands.md', 'utf8')).toBe(commandReference(federatorProgram()));
  });
});

describe('output', () => {
  it.each([
    [['verify'], 'table'],
    [['verify', '--json'], 'json'],
    [['verify', '-o', 'yaml'], 'yaml'],
    [['verify', '--json', '-o', 'yaml'], 'yaml'],
  ])('%j is %s', async (args, format) => {
    const program = federatorProgram();
    const verify = program.commands.find((each) => each.name() === 'verify');
    verify?.action(() => undefined);
    await program.parseAsync(args, { from: 'user' });
    expect(verify?.opts()['output']).toBe(format);
  });

  it('refuses another format, and says which there are', async () => {
    const program = federatorProgram();
    let said = '';
    for (const { command } of allCommands(program)) command.configureOutput({ writeErr: (text) => (said += text) });
    await expect(program.parseAsync(['status', '-o', 'xml'], { from: 'user' })).rejects.toThrow();
    expect(said).toMatch(/'xml' is invalid\. Allowed choices are table, json, yaml/);
  });

  it('as YAML says the same as JSON, without references, on whole lines', () => {
    const shared = { evidence: `${'long '.repeat(40)}line` };
    const result = { checks: [shared, shared], link: undefined };
    expect(parse(encoded(result, 'yaml'))).toEqual(JSON.parse(encoded(result, 'json')));
    expect(encoded(result, 'yaml').split('\n')).toHaveLength(4);
  });
});

describe('start-workflow', () => {
  const start = (...args: string[]) => federatorProgram().parseAsync(['start-workflow', ...args], { from: 'user' });

  it.each([
    [
      ['addCluster', '--relationships', 'dynamic'],
      /^addCluster does not take --relationships: .*: setupPair, setupMesh\.$/,
    ],
    [['addCluster', '--hub', 'a'], /--hub/],
    [['addCluster', '--topology', 'mesh'], /--topology/],
    [['addCluster', '--refresh-hint', '60'], /--refresh-hint/],
    [['removeCluster', 'a', '--no-probe'], /^removeCluster does not take --no-probe/],
    [['setupPair', '--unreachable'], /^setupPair does not take --unreachable: .*: removeCluster\.$/],
    [['setupMesh', 'a'], /^setupMesh does not take a: /],
    [['teardown', '--max-unavailable', '2'], /--max-unavailable/],
    [['adopt', '--no-probe'], /--no-probe/],
    [['rotateWatch', '--plan'], /^rotateWatch does not take --plan: /],
    [['setupMesh', '--rotate', 'a'], /--rotate/],
  ])('%j is refused, and what takes it is named', async (args, message) => {
    await expect(start(...args)).rejects.toThrow(message);
  });

  it('takes all that its workflows do', async () => {
    const nowhere = ['--inventory', '/nowhere/inventory.yaml'];
    for (const args of [
      [
        'setupMesh',
        '--clusters',
        'a,b',
        '--hub',
        'a',
        '--relationships',
        'dynamic',
        '--no-probe',
        '--no-monitor',
        '--plan',
      ],
      ['addCluster', 'c', '--max-unavailable', '2', '--no-probe', '--timeout', '5m', '--no-wait', '--json'],
      ['removeCluster', '--cluster', 'c', '--unreachable', '--attempts', '3'],
      ['rotateWatch', '--rotate', 'a', '--revoke', '--for', '5m'],
    ])
      await expect(start(...args, ...nowhere)).rejects.toMatchObject({ type: 'InvalidInventory' });
  });
});

describe('colours', () => {
  it.each([
    ['a terminal', true, {}, true],
    ['a file', false, {}, false],
    ['a file on a build server', false, { CI: 'true' }, false],
    ['a terminal with NO_COLOR', true, { NO_COLOR: '1' }, false],
    ['a terminal that is dumb', true, { TERM: 'dumb' }, false],
    ['a file with FORCE_COLOR', false, { FORCE_COLOR: '1' }, true],
  ])('%s', (_name, isTTY, environment, expected) => {
    expect(hasColours({ isTTY }, environment)).toBe(expected);
  });
});

describe('durations', () => {
  it.each([
    ['90s', 90_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
  ])('%s', (text, ms) => expect(durationOf('--timeout')(text)).toBe(ms));

  it.each(['10', '0s', '-5m', 'soon', ''])('%j is refused', (text) => {
    expect(() => durationOf('--timeout')(text)).toThrow(/--timeout takes a duration such as/);
  });
});

describe('clusters list', () => {
  it('says of each what it is a member of, or why that is unknown', () => {
    const unknown = [{ cluster: 'c', type: 'ClusterUnreachable' as const, message: 'c cannot be reached.' }];
    const clusters = [{ name: 'a' }, { name: 'b', region: 'eu' }, { name: 'c' }];
    expect(listedClusters(clusters, { federations: { prod: ['a'] }, unknown })).toEqual([
      { cluster: 'a', federation: 'prod' },
      { cluster: 'b', region: 'eu' },
      { cluster: 'c', unknown: 'c cannot be reached.' },
    ]);
  });

  it('has a column of regions where any cluster has one', () => {
    const cells = (text: string) =>
      stripVTControlCharacters(text)
        .split('\n')
        .map((line) => line.split(/ {2,}/));
    expect(cells(clusterTable([{ cluster: 'a', federation: 'prod' }, { cluster: 'b' }]))).toEqual([
      ['cluster', 'member of'],
      ['a', 'prod'],
      ['b'],
    ]);
    expect(cells(clusterTable([{ cluster: 'a', region: 'eu', federation: 'prod' }, { cluster: 'b' }]))).toEqual([
      ['cluster', 'region', 'member of'],
      ['a', 'eu', 'prod'],
      ['b'],
    ]);
  });
});

describe('workload show', () => {
  const workload = { kind: 'pod', namespace: 'shop', name: 'web' };

  it.each([
    ['shop/web', undefined, { workload }],
    ['shop/web', 'client-1', { workload, cluster: 'client-1' }],
    ['client-1:shop/web', undefined, { workload, cluster: 'client-1' }],
    ['client-1:shop/web', 'client-1', { workload, cluster: 'client-1' }],
    ['spiffe://a.test/web', undefined, { workload: { kind: 'spiffeId', spiffeId: 'spiffe://a.test/web' } }],
    ['nonsense', undefined, { workload: undefined }],
  ])('%s with --cluster %s', (text, cluster, expected) => expect(askedFor(text, cluster)).toEqual(expected));

  it('refuses two clusters', () => {
    expect(() => askedFor('client-1:shop/web', 'edge-1')).toThrow(/is of client-1, and --cluster says edge-1/);
  });
});

describe('probe of a pair', () => {
  const federations = { prod: ['a', 'b'], test: ['c'] };

  it.each([
    [['a', 'b'], 'prod'],
    [['a', 'c'], undefined],
    [['a', 'd'], undefined],
  ])('%j belongs to %s', (clusters, expected) => expect(federationOf(clusters, federations)).toBe(expected));
});

describe('repair', () => {
  const finding = (check: string, more: Partial<Finding> = {}): Finding => ({
    check,
    scope: 'a',
    evidence: 'seen',
    remedy: `mend ${check}`,
    action: 'restore',
    ...more,
  });
  const open = (each: Finding, state: OpenFinding['state']): OpenFinding => ({
    ...each,
    id: `${each.check}@${each.scope}`,
    state,
    since: 0,
    attempts: 0,
  });
  const { action: _action, ...byPerson } = finding('clock');
  const route = finding('route');
  const removed = finding('member-removed', { needsApproval: 'it may be meant' });
  const found = [route, removed, byPerson];
  const everything = () => true;
  const names = (findings: readonly Finding[]) => findings.map(({ check }) => check);
  const chosen = (...args: Parameters<typeof chooseRepairs>) => {
    const { now, byMonitor, held } = chooseRepairs(...args);
    return { now: names(now), byMonitor: names(byMonitor), held: names(held) };
  };

  it('leaves alone what takes a person, and what nobody has approved', () => {
    expect(chosen(found, everything, undefined)).toEqual({ now: ['route'], byMonitor: [], held: ['member-removed'] });
    expect(chosen(found, (id) => id === 'clock@a', undefined)).toEqual({ now: [], byMonitor: [], held: [] });
  });

  it('takes a name for approval', () => {
    expect(chosen(found, everything, ['member-removed@a', 'member-removed@a'])).toEqual({
      now: ['member-removed'],
      byMonitor: [],
      held: [],
    });
  });

  it('has the monitor do what waits for approval there or was given up, unless it rests', () => {
    const ca = finding('unknownAuthority', { scope: 'a←b' });
    const health = {
      findings: [
        open(route, 'escalated'),
        open({ ...ca, needsApproval: 'the CA changed' }, 'approval'),
        open(finding('stale'), 'repairing'),
      ],
    };
    expect(chosen([route, ca], everything, undefined, health)).toEqual({
      now: [],
      byMonitor: ['route'],
      held: ['unknownAuthority'],
    });
    // It looks at more than one moment, and may know better what it is.
    expect(chosen([finding('stored-bundle', { scope: 'a←b' })], everything, undefined, health).held).toEqual([
      'unknownAuthority',
    ]);
    // The monitor alone knows of the last one.
    const named = ['unknownAuthority@a←b', 'stale@a'];
    expect(chosen([route, ca], everything, named, health)).toEqual({
      now: ['stale'],
      byMonitor: ['unknownAuthority'],
      held: [],
    });
    expect(chosen([route, ca], everything, named, { ...health, paused: { reason: 'maintenance' } })).toEqual({
      now: ['unknownAuthority', 'stale'],
      byMonitor: [],
      held: [],
    });
  });

  it.each([
    ['route@b', found, /^There is no finding route@b\. There are: route@a, member-removed@a, clock@a$/],
    ['route@b', [], /^There is no finding route@b\. There is none\.$/],
    ['clock@a', found, /^The engine cannot repair clock@a: mend clock$/],
  ])('refuses %s', (id, present, message) => {
    expect(() => chooseRepairs(present, everything, [id])).toThrow(message);
  });
});

describe('completion', () => {
  const commands = completable(federatorProgram());

  describe('by bash', () => {
    let folder: string;
    beforeAll(() => {
      folder = mkdtempSync(path.join(tmpdir(), 'federator-completion-'));
      writeFileSync(path.join(folder, 'completion.bash'), bashCompletion(commands));
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    /** What bash offers for the last word. */
    function offered(...words: string[]): string[] {
      const script = `
        federator() { if [ "$*" = "completion clusters" ]; then printf 'client-1\\nserver-1\\n'; fi; }
        source "$1"; shift
        COMP_WORDS=(federator "$@"); COMP_CWORD=$#
        _federator
        printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', 'completion.bash', ...words], {
        cwd: folder,
        encoding: 'utf8',
      });
      expect(stderr).toBe('');
      return stdout.split('\n').filter((each) => each !== '');
    }

    it.each([
      [['mon'], ['monitor']],
      [['monitor', 'p'], ['pause']],
      [['monitor', 'pause', '--rea'], ['--reason']],
      [
        ['status', '-o', ''],
        ['table', 'json', 'yaml'],
      ],
      [
        ['start-workflow', 'setup'],
        ['setupPair', 'setupMesh'],
      ],
      [['diagnose', '--cluster', 's'], ['server-1']],
      [['verify', '--clusters', 'client-1,s'], ['client-1,server-1']],
      [['clusters', 'test', 'c'], ['client-1']],
      [['apply', '--file', 'compl'], ['completion.bash']],
      [['status', '--federation', ''], []],
      // A value that is called like a command is none.
      [['health', 'schedule', '--name', 'list', '--ev'], ['--every']],
    ])('%j', (words, expected) => expect(offered(...words)).toEqual(expected));
  });

  it.each([
    ['zsh', zshCompletion],
    ['fish', fishCompletion],
  ] as const)('%s knows every command and every option', (_shell, script) => {
    const text = script(commands);
    for (const { path: name, options } of commands) {
      expect(text).toContain(name);
      for (const { long } of options) expect(text).toContain(_shell === 'fish' ? `-l ${long.slice(2)}` : long);
    }
  });
});
