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

/** What an API server says that an identity may do: a rule of a Role or ClusterRole that is bound to it. */
export interface ResourceRule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
}

/**
 * A namespace that nobody binds a role in: what is allowed there is allowed by a ClusterRoleBinding, which objects without
 * a namespace need.
 */
const CLUSTER_SCOPE = 'spire-federator-cluster-scope';

/**
 * Asks the API server which of the permissions the engine's identity lacks: all rules of a namespace in one request, and
 * one by one only what they do not grant, since an authorizer need not be able to list its rules.
 */
export async function missingPermissions(
  connection: ClusterConnection,
  permissions: readonly Permission[],
): Promise<Permission[]> {
  const scopes = [...new Set(permissions.map(scopeOf))];
  const rules = new Map(
    await Promise.all(scopes.map(async (scope) => [scope, await rulesIn(connection, scope)] as const)),
  );
  const open = permissions.filter(
    (permission) => !(rules.get(scopeOf(permission)) ?? []).some((rule) => grants(rule, permission)),
  );
  const allowed = await Promise.all(open.map((permission) => isAllowed(connection, permission)));
  return open.filter((_, index) => !allowed[index]);
}

/** Whether a rule allows something, as RBAC matches them (kubernetes: pkg/apis/rbac/v1/evaluation_helpers.go). */
export function grants(
  { verbs, apiGroups = [], resources = [], resourceNames = [] }: ResourceRule,
  { verb, group, resource, subresource, name }: Permission,
): boolean {
  const wanted = subresource === undefined ? resource : `${resource}/${subresource}`;
  return (
    (verbs.includes(verb) || verbs.includes('*')) &&
    (apiGroups.includes(group) || apiGroups.includes('*')) &&
    (resources.includes(wanted) ||
      resources.includes('*') ||
      (subresource !== undefined && resources.includes(`*/${subresource}`))) &&
    (resourceNames.length === 0 || (name !== undefined && resourceNames.includes(name)))
  );
}

function scopeOf({ namespace }: Permission): string {
  return namespace ?? CLUSTER_SCOPE;
}

async function rulesIn(connection: ClusterConnection, namespace: string): Promise<ResourceRule[]> {
  const review = await requestJson<{ status?: { resourceRules?: ResourceRule[] } }>(connection, {
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews',
    body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', spec: { namespace } },
    attempt: 'review its own permissions',
  });
  return review.status?.resourceRules ?? [];
}

async function isAllowed(connection: ClusterConnection, permission: Permission): Promise<boolean> {
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
}

/** A permission as kubectl would say it: "patch configmaps spire-server in zero-trust-workload-identity-manager". */
export function describePermission({ verb, group, resource, subresource, namespace, name }: Permission): string {
  const kind = `${resource}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
  return `${verb} ${kind}${name === undefined ? '' : ` ${name}`}${namespace === undefined ? '' : ` in ${namespace}`}`;
}
