import type { ClusterConnection } from './connect.js';
import { requestJson } from './request.js';

/** One thing the engine must be allowed to do; the empty group is the core API. */
export interface Permission {
  verb: string;
  group: string;
  resource: string;
  subresource?: string;
  namespace?: string;
  name?: string;
}

/** Asks the API server which of the permissions the engine's identity lacks. */
export async function missingPermissions(
  connection: ClusterConnection,
  permissions: readonly Permission[],
): Promise<Permission[]> {
  const allowed = await Promise.all(
    permissions.map(async (permission) => {
      const review = await requestJson<{ status?: { allowed?: boolean } }>(connection, {
        method: 'POST',
        path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        body: {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SelfSubjectAccessReview',
          spec: { resourceAttributes: permission },
        },
        attempt: 'review its own permissions',
      });
      return review.status?.allowed === true;
    }),
  );
  return permissions.filter((_, index) => !allowed[index]);
}

/** A permission as kubectl would say it: "patch configmaps spire-server in zero-trust-workload-identity-manager". */
export function describePermission({ verb, group, resource, subresource, namespace, name }: Permission): string {
  const kind = `${resource}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
  return `${verb} ${kind}${name === undefined ? '' : ` ${name}`}${namespace === undefined ? '' : ` in ${namespace}`}`;
}
