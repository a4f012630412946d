import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { requiredPermissions } from '../../src/activities/permissions.js';
import { clusterSchema, type Exposure } from '../../src/contract/inventory.js';
import { describePermission, grants, type Permission, type ResourceRule } from '../../src/kubernetes/access.js';

interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules?: (Required<Omit<ResourceRule, 'resourceNames'>> & ResourceRule)[];
}

const CLUSTER = clusterSchema.parse({ name: 'client-1', kubeconfig: { path: 'kubeconfig' } });
const EXPOSURES: readonly Exposure[] = [
  { type: 'route' },
  { type: 'route', host: 'spire.example.org' },
  { type: 'ingress', host: 'spire.example.org' },
  { type: 'loadBalancer' },
  { type: 'nodePort', host: 'node.example.org' },
  { type: 'address', url: 'https://spire.example.org' },
];

function manifests(file: string): Manifest[] {
  const text = readFileSync(path.resolve(__dirname, '../../deploy', file), 'utf8');
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

/** Everything that rbac.yaml allows, one by one. */
function granted(): Permission[] {
  return manifests('rbac.yaml').flatMap(({ metadata: { namespace }, rules = [] }) =>
    rules.flatMap(({ verbs, apiGroups, resources, resourceNames = [undefined] }) =>
      verbs.flatMap((verb) =>
        apiGroups.flatMap((group) =>
          resources.flatMap((each) => {
            const [resource = '', subresource] = each.split('/');
            return resourceNames.map((name) => ({
              verb,
              group,
              resource,
              ...(subresource === undefined ? {} : { subresource }),
              ...(namespace === undefined ? {} : { namespace }),
              ...(name === undefined ? {} : { name }),
            }));
          }),
        ),
      ),
    ),
  );
}

/** Everything that the engine may ever ask for. */
function required(): Permission[] {
  const uses = ['change', 'probe', 'monitor'] as const;
  return [
    ...EXPOSURES.flatMap((exposure) => requiredPermissions(CLUSTER, exposure, uses)),
    ...requiredPermissions(CLUSTER, { type: 'managedRoute' }, uses, { operated: true, control: 'operator' }),
  ];
}

const sorted = (permissions: readonly Permission[]) => [...new Set(permissions.map(describePermission))].sort();

test('rbac.yaml grants what the engine asks for, and nothing else', () => {
  expect(sorted(granted())).toEqual(sorted(required()));
});

test('the rules of rbac.yaml, as RBAC matches them, allow all that is asked for', () => {
  const rules = (namespace: string | undefined) =>
    manifests('rbac.yaml')
      .filter(({ metadata }) => metadata.namespace === namespace)
      .flatMap(({ rules: found = [] }) => found);
  for (const permission of required()) {
    expect({
      permission: describePermission(permission),
      granted: rules(permission.namespace).some((rule) => grants(rule, permission)),
    }).toEqual({ permission: describePermission(permission), granted: true });
  }
});

test('what workload show needs besides is read-only, and no part of rbac.yaml', () => {
  const rules = manifests('rbac-workloads.yaml').flatMap(({ rules: found = [] }) => found);
  expect(rules.length).toBeGreaterThan(0);
  for (const { verbs } of rules) expect(['get', 'list']).toEqual(expect.arrayContaining(verbs));
  const everyPod: Permission = { verb: 'list', group: '', resource: 'pods' };
  expect(rules.some((rule) => grants(rule, everyPod))).toBe(true);
  expect(sorted(granted())).not.toContain(describePermission(everyPod));
});

describe('what is asked for depends on what is going to be done', () => {
  const has = (permissions: readonly Permission[], pattern: RegExp) =>
    sorted(permissions).filter((each) => pattern.test(each));

  test('a probe: nothing of its namespace without one', () => {
    const change = requiredPermissions(CLUSTER, { type: 'route' }, ['change', 'monitor']);
    expect(has(change, /spire-federator-probe/)).toEqual([]);
    const probed = requiredPermissions(CLUSTER, { type: 'route' }, ['change', 'probe']);
    expect(has(probed, /create routes.* in spire-federator-probe/)).toHaveLength(1);
  });

  test('a probe where only a given address leads to the cluster: pods, but nothing that exposes them', () => {
    const probed = requiredPermissions(CLUSTER, { type: 'address', url: 'https://spire.example.org' }, ['probe']);
    expect(has(probed, /create pods in spire-federator-probe/)).toHaveLength(1);
    expect(has(probed, /(services|routes|ingresses).* in spire-federator-probe/)).toEqual([]);
  });

  test('a monitor: watching', () => {
    expect(has(requiredPermissions(CLUSTER, { type: 'route' }, ['change', 'probe']), /^watch /)).toEqual([]);
    expect(
      has(requiredPermissions(CLUSTER, { type: 'route' }, ['monitor']), /^watch pods spire-server-0 /),
    ).toHaveLength(1);
  });

  test('a host of one’s own: routes/custom-host', () => {
    expect(
      has(
        requiredPermissions(CLUSTER, { type: 'route' }, ['change'], { exposedBy: ['Service', 'Route'] }),
        /custom-host/,
      ),
    ).toEqual([]);
    expect(
      has(requiredPermissions(CLUSTER, { type: 'route', host: 'a.example.org' }, ['change']), /custom-host/),
    ).toEqual(expect.arrayContaining([expect.stringMatching(/^create /), expect.stringMatching(/^update /)]));
  });

  test('a Route that has to go because the cluster is exposed in another way now', () => {
    const exposure = { type: 'ingress', host: 'spire.example.org' } as const;
    expect(has(requiredPermissions(CLUSTER, exposure, ['change']), /routes/)).toEqual([]);
    const changed = requiredPermissions(CLUSTER, exposure, ['change'], { exposedBy: ['Service', 'Route'] });
    expect(has(changed, /^delete routes.* spire-server-federation /)).toHaveLength(1);
  });

  test('an operator: SpireServer is patched, and what it renders only read', () => {
    const known = { operated: true, control: 'operator' } as const;
    const asked = requiredPermissions(CLUSTER, { type: 'managedRoute' }, ['change', 'monitor'], known);
    expect(has(asked, /^patch spireservers/)).toHaveLength(1);
    expect(has(asked, /^(create|patch|delete) (configmaps|statefulsets|services|routes)/)).toEqual([]);
    expect(has(asked, /^watch routes/)).toHaveLength(1);
    // In create-only mode the operator is only asked whether it is in it.
    const edited = requiredPermissions(CLUSTER, { type: 'route' }, ['change'], {
      operated: true,
      control: 'configMap',
    });
    expect(has(edited, /spireservers/)).toEqual([expect.stringMatching(/^get /)]);
    expect(has(edited, /^patch configmaps/)).toHaveLength(1);
    // Nothing of it where there is no such kind.
    expect(has(requiredPermissions(CLUSTER, { type: 'route' }, ['change']), /spireservers|deployments/)).toEqual([]);
  });

  test('reading: no right to change anything', () => {
    const read = requiredPermissions(CLUSTER, { type: 'route' }, []);
    expect(has(read, /^(create|patch|update|delete|watch) (?!pods\/exec)/)).toEqual([]);
  });
});
