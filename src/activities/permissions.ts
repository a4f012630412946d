import type { Cluster } from '../contract/inventory.js';
import { BUNDLE_ENDPOINT_OBJECT, PROBE_NAMESPACE } from '../contract/names.js';
import type { Permission } from '../kubernetes/access.js';

/** Group and plural of the object that exposes the endpoint beside its Service. */
const EXPOSED_BY: Partial<Record<string, { group: string; resource: string }>> = {
  route: { group: 'route.openshift.io', resource: 'routes' },
  ingress: { group: 'networking.k8s.io', resource: 'ingresses' },
};

/** Everything a change does on a cluster; deploy/rbac.yaml grants just this. */
export function requiredPermissions(cluster: Cluster, exposure: string): Permission[] {
  const { namespace, server } = cluster;
  const all = (group: string, resource: string, verbs: string[], rest: Partial<Permission> = {}): Permission[] =>
    verbs.map((verb) => ({ verb, group, resource, ...rest }));
  const exposedBy = EXPOSED_BY[exposure];
  return [
    ...all('spire.spiffe.io', 'clusterfederatedtrustdomains', ['get', 'list', 'create', 'patch', 'delete']),
    ...all('spire.spiffe.io', 'clusterspiffeids', ['get', 'list', 'create', 'patch', 'delete']),
    ...all('', 'configmaps', ['get', 'patch'], { namespace, name: server }),
    ...all('apps', 'statefulsets', ['get', 'patch'], { namespace, name: server }),
    ...all('', 'pods', ['get'], { namespace }),
    ...all('', 'pods', ['delete'], { namespace, name: `${server}-0` }),
    ...all('', 'pods', ['get', 'create'], { namespace, name: `${server}-0`, subresource: 'exec' }),
    ...all('', 'pods', ['get'], { namespace, name: `${server}-0`, subresource: 'log' }),
    ...all('', 'services', ['create'], { namespace }),
    ...all('', 'services', ['get', 'patch', 'delete'], { namespace, name: BUNDLE_ENDPOINT_OBJECT }),
    ...(exposedBy === undefined
      ? []
      : [
          ...all(exposedBy.group, exposedBy.resource, ['create'], { namespace }),
          ...all(exposedBy.group, exposedBy.resource, ['get', 'patch', 'delete'], {
            namespace,
            name: BUNDLE_ENDPOINT_OBJECT,
          }),
        ]),
    ...all('', 'pods', ['create', 'delete'], { namespace: PROBE_NAMESPACE }),
    ...all('', 'services', ['create', 'delete'], { namespace: PROBE_NAMESPACE }),
    ...(exposedBy === undefined
      ? []
      : all(exposedBy.group, exposedBy.resource, ['create', 'delete'], { namespace: PROBE_NAMESPACE })),
    ...all('', 'pods', ['create'], { namespace: PROBE_NAMESPACE, subresource: 'exec' }),
  ];
}
