import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { webhookSettings } from '../../src/activities/webhookSettings.js';
import { apiSettings } from '../../src/api/settings.js';
import { webUiUrl } from '../../src/config.js';

interface Compose {
  services: Record<
    string,
    {
      image?: string;
      build?: string;
      ports?: string[];
      depends_on?: Record<string, unknown>;
      environment?: Record<string, string>;
    }
  >;
}

const compose = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true }) as Compose;
const services = Object.entries(compose.services);

describe('docker-compose.yml', () => {
  it.each(services)('%s listens on this machine only', (_name, { ports = [] }) => {
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
  });

  it.each(services)('%s comes from a pinned image or from this repository', (_name, { image, build }) => {
    if (build === undefined) expect(image).toMatch(/^[a-z/-]+:\d+(\.\d+)*$/);
    else expect(build).toBe('.');
  });

  it('passes on what nobody has set as what is not there', async () => {
    const environment = (service: string, set: Record<string, string> = {}) =>
      Object.fromEntries(
        Object.entries(compose.services[service]?.environment ?? {}).map(([name, value]) => {
          const [, variable = '', , otherwise = ''] = /^\$\{(\w+)(:?-)(.*)\}$/.exec(value) ?? [];
          return [name, variable === '' ? value : (set[variable] ?? otherwise)];
        }),
      );
    expect(await webhookSettings(environment('worker'))).toBeUndefined();
    expect(webUiUrl(environment('worker'))).toBe('http://127.0.0.1:8233');
    expect(webUiUrl(environment('api'))).toBe('http://127.0.0.1:8233');
    const settings = apiSettings(environment('api'));
    expect(settings).toMatchObject({ tokensFile: '/etc/spire-federator/tokens.yaml' });
    expect(settings.oidc).toBeUndefined();
    const oidc = { SPIRE_FEDERATOR_OIDC_ISSUER: 'https://issuer.test', SPIRE_FEDERATOR_OIDC_AUDIENCE: 'me' };
    const alone = apiSettings(environment('api', { ...oidc, SPIRE_FEDERATOR_API_TOKENS: '' }));
    expect(alone).toMatchObject({ oidc: { issuer: 'https://issuer.test', audience: 'me', rolesClaim: 'roles' } });
    expect(alone.tokensFile).toBeUndefined();
    const webhook = { SPIRE_FEDERATOR_WEBHOOK_URL: 'https://hooks.slack.com/x' };
    expect(await webhookSettings(environment('worker', webhook))).toMatchObject({ format: 'slack' });
  });

  it.each(services)('%s waits only for services that exist', (_name, { depends_on = {} }) => {
    expect(Object.keys(compose.services)).toEqual(expect.arrayContaining(Object.keys(depends_on)));
  });
});

describe.each(['Dockerfile', 'probe/Dockerfile', 'sandbox/Dockerfile'])('%s', (file) => {
  const instructions = readFileSync(file, 'utf8').split('\n');

  // By name Kubernetes could not tell.
  it('runs as a user that is not root, by number', () => {
    expect(instructions.findLast((line) => line.startsWith('USER'))).toMatch(/^USER [1-9]\d*:[1-9]\d*$/);
  });

  it('copies what there is', () => {
    const context = file.startsWith('probe') ? 'probe' : '.';
    const copied = instructions
      .filter((line) => /^COPY (?!--from)/.test(line))
      .flatMap((line) => line.split(' ').slice(1, -1));
    expect(copied.length).toBeGreaterThan(2);
    const missing = copied.filter((each) => !each.includes('*') && !existsSync(path.join(context, each)));
    expect(missing).toEqual([]);
  });
});

describe('.dockerignore', () => {
  it('lets into the build all that the Dockerfile copies, and that imports from bench may lead to', () => {
    const allowed = readFileSync('.dockerignore', 'utf8').split('\n');
    const dockerfile = readFileSync('Dockerfile', 'utf8');
    const sources = readdirSync('bench').filter((file) => file.endsWith('.ts'));
    const imported = sources.flatMap((file) =>
      [...readFileSync(path.join('bench', file), 'utf8').matchAll(/from '\.\.\/(\w+)\//g)].map(
        ([, folder = '']) => folder,
      ),
    );
    const copied = [...dockerfile.matchAll(/^COPY (\w+) \w+$/gm)].map(([, folder = '']) => folder);
    expect(copied).toEqual(expect.arrayContaining(imported));
    expect(allowed).toEqual(expect.arrayContaining(copied.map((folder) => `!${folder}`)));
  });
});

describe('package-lock.json', () => {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, { resolved?: string; optionalDependencies?: Record<string, string> }>;
  };

  it('leaves the choice of a registry to whoever installs', () => {
    expect(Object.values(packages).filter(({ resolved }) => resolved !== undefined)).toEqual([]);
  });

  // A registry that carries few platforms makes npm leave the others out of the lock, and then `npm ci` refuses it.
  it('has the optional packages of every platform', () => {
    const missing = Object.values(packages)
      .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
      .filter((name) => !Object.keys(packages).some((folder) => folder.endsWith(`node_modules/${name}`)));
    expect(missing).toEqual([]);
  });
});
