import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { servedRegions } from '../../src/config.js';
import {
  hasKubectl,
  kubernetesManifests,
  rendered,
  renderedBase,
  renderedRegion,
  type PodTemplate,
} from '../support/kubernetesManifests.js';

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

(hasKubectl ? describe : describe.skip)('kustomize', () => {
  test('renders the base, with the settings and with accounts of its own', () => {
    const objects = renderedBase();
    expect(objects).toHaveLength(manifests.length + 1);
    const text = JSON.stringify(objects);
    expect(text).toMatch(/"configMapRef":\{"name":"spire-federator-settings-\w+"/);
    expect(text).not.toContain('{"kind":"ServiceAccount","name":"spire-federator",');
  });

  test('renders it with what OpenShift takes, and with an inventory file', () => {
    const text = JSON.stringify(rendered(['openshift', 'inventory-file']));
    expect(text).not.toContain('fsGroup');
    expect(text.match(/"secretName":"spire-federator-inventory"/g)).toHaveLength(2);
  });

  test('renders the workers of a region: their own inventory, and neither API nor store', () => {
    const objects = renderedRegion();
    const named = objects.map(({ kind, metadata: { name } }) => `${kind} ${name.replace(/(settings)-\w+$/, '$1')}`);
    expect(named.sort()).toEqual([
      'ConfigMap spire-federator-settings',
      'Deployment spire-federator-worker',
      'Namespace spire-federator-eu',
      'NetworkPolicy spire-federator-default-deny',
      'NetworkPolicy spire-federator-egress',
      'NetworkPolicy spire-federator-worker',
      'PodDisruptionBudget spire-federator-worker',
      'Service spire-federator-worker',
      'ServiceAccount spire-federator-worker',
    ]);
    const [settings] = objects.filter(({ kind }) => kind === 'ConfigMap');
    const { data = {} } = settings as { data?: Record<string, string> };
    expect(servedRegions(undefined, data)).toEqual(['eu']);
    expect(data).not.toHaveProperty('SPIRE_FEDERATOR_STORE');
    const [worker] = objects.filter(({ kind }) => kind === 'Deployment');
    const { spec } = worker?.spec?.['template'] as PodTemplate;
    expect(spec).toMatchObject({ automountServiceAccountToken: false });
    expect(spec.containers[0]?.env).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: 'SPIRE_FEDERATOR_INVENTORY' }),
        {
          name: 'SPIRE_FEDERATOR_REGIONS',
          valueFrom: { configMapKeyRef: { name: settings?.metadata.name, key: 'SPIRE_FEDERATOR_REGIONS' } },
        },
      ]),
    );
  });
});
