import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { kubernetesManifests, type PodTemplate } from '../support/kubernetesManifests.js';

const root = path.resolve(__dirname, '../..');
const folder = path.join(root, 'deploy/kubernetes');
const manifests = kubernetesManifests();
const deployments = manifests.flatMap(({ kind, metadata: { name }, spec }) =>
  kind === 'Deployment' ? [{ name, template: spec?.['template'] as PodTemplate }] : [],
);

type Labels = Record<string, string>;
const selects = (selector: Labels) =>
  deployments.some(({ template: { metadata } }) =>
    Object.entries(selector).every(([key, value]) => metadata.labels[key] === value),
  );

test('there are a worker and an API', () => {
  expect(deployments.map(({ name }) => name).sort()).toEqual(['spire-federator-api', 'spire-federator-worker']);
});

test.each(deployments)(
  '$name runs without rights on its node, as an account that there is',
  ({ template: { spec } }) => {
    expect(spec).toMatchObject({ securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } } });
    const accounts = manifests.filter(({ kind }) => kind === 'ServiceAccount').map(({ metadata }) => metadata.name);
    expect(accounts).toContain(spec.serviceAccountName);
    for (const container of spec.containers) {
      expect(container).toMatchObject({
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
      });
      expect(container.resources.requests.memory).toMatch(/^\d+Mi$/);
      expect(container.resources.limits.memory).toMatch(/^\d+[MG]i$/);
      const ports = container.ports.map(({ name }) => name);
      for (const probe of [container.startupProbe, container.readinessProbe, container.livenessProbe])
        expect(ports).toContain(probe.httpGet.port);
    }
  },
);

test.each(deployments)('$name runs what the image has', ({ template: { spec } }) => {
  const [container] = spec.containers;
  const image = readFileSync(path.join(root, 'Dockerfile'), 'utf8');
  const [, inImage = '[]'] = /^CMD (.+)$/m.exec(image) ?? [];
  const script = (container?.command ?? (JSON.parse(inImage) as string[])).at(-1) ?? '';
  const source = path.join(root, script.replace(/^dist\//, '').replace(/\.js$/, '.ts'));
  expect({ source, exists: existsSync(source) }).toEqual({ source, exists: true });
  expect(image).toMatch(/^USER [1-9]\d*/m);
});

test('every setting is one that the engine reads', () => {
  const settings = readFileSync(path.join(folder, 'settings.env'), 'utf8').matchAll(/^([A-Z_]+)=/gm);
  const given = deployments.flatMap(({ template: { spec } }) =>
    spec.containers.flatMap(({ env }) => env.map(({ name }) => name)),
  );
  const read = spawnSync('grep', ['-rhoE', 'SPIRE_FEDERATOR_[A-Z_]+', path.join(root, 'src')], { encoding: 'utf8' });
  const own = new Set(read.stdout.split('\n'));
  const names = [...given, ...[...settings].map(([, name = '']) => name)];
  expect(names.length).toBeGreaterThan(5);
  for (const name of names)
    expect({ name, known: own.has(name) || name.startsWith('TEMPORAL_') }).toEqual({ name, known: true });
});

test('what selects pods selects some', () => {
  const selectors = manifests.flatMap(({ kind, metadata: { name }, spec = {} }) => {
    const { selector, podSelector } = spec as {
      selector?: Labels & { matchLabels?: Labels };
      podSelector?: { matchLabels?: Labels };
    };
    const labels = kind === 'Service' ? selector : (selector?.matchLabels ?? podSelector?.matchLabels);
    return labels === undefined ? [] : [{ name: `${kind} ${name}`, labels }];
  });
  expect(selectors.length).toBeGreaterThan(6);
  for (const { name, labels } of selectors) expect({ name, selects: selects(labels) }).toEqual({ name, selects: true });
});

describe('kustomize', () => {
  const kustomize = (directory: string) => spawnSync('kubectl', ['kustomize', directory], { encoding: 'utf8' });
  const ifInstalled = spawnSync('kubectl', ['version', '--client']).status === 0 ? test : test.skip;

  ifInstalled('renders the base, with the settings and with accounts of its own', () => {
    const { status, stdout, stderr } = kustomize(folder);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(parseAllDocuments(stdout)).toHaveLength(manifests.length + 1);
    expect(stdout).toMatch(/configMapRef:\n\s+name: spire-federator-settings-\w+/);
    expect(stdout).not.toMatch(/kind: ServiceAccount\n\s+name: spire-federator\n/);
  });

  ifInstalled('renders it with what OpenShift takes, and with an inventory file', () => {
    const overlay = mkdtempSync(path.join(os.tmpdir(), 'kustomize-'));
    try {
      const from = (...parts: string[]) => path.relative(overlay, path.join(folder, ...parts));
      writeFileSync(
        path.join(overlay, 'kustomization.yaml'),
        JSON.stringify({ resources: [from()], components: [from('openshift'), from('inventory-file')] }),
      );
      const { status, stdout, stderr } = kustomize(overlay);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout).not.toContain('fsGroup');
      expect(stdout.match(/secretName: spire-federator-inventory/g)).toHaveLength(2);
    } finally {
      rmSync(overlay, { recursive: true });
    }
  });
});
