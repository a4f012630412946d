import { z } from 'zod';
import { labelKey, labelSelectorSchema, labelValue } from './labelSelector.js';
import { policyName } from './names.js';

const dnsLabel = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'is not the name of a namespace');
const objectName = z.string().regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'is not a name for a ClusterSPIFFEID');

/** A Go duration, as Kubernetes writes it. */
const duration = z.string().regex(/^(\d+(\.\d+)?(h|m|s))+$/, 'is not a duration such as 1h30m');

/** The data a template is rendered with (spire-controller-manager: pkg/spireentry/entry.go, templateData). */
const TEMPLATE_FIELDS = ['TrustDomain', 'ClusterName', 'ClusterDomain', 'PodMeta', 'PodSpec', 'NodeMeta', 'NodeSpec'];

/** Why a template cannot render to a SPIFFE ID, as far as its text tells; undefined when nothing speaks against it. */
export function templateFault(template: string): string | undefined {
  if (!/^spiffe:\/\/({{-?\s*\.TrustDomain\s*-?}}|[a-z0-9._-]+)\/./.test(template))
    return 'must be a SPIFFE ID with a path, best of the cluster’s own trust domain: spiffe://{{ .TrustDomain }}/…';
  const actions = [...template.matchAll(/{{(.*?)}}/gs)].map(([, action]) => action ?? '');
  const rest = template.replaceAll(/{{.*?}}/gs, '');
  if (rest.includes('{{') || rest.includes('}}')) return 'has a brace that is not closed or not opened';
  for (const action of actions) {
    if (action.replace(/^-|-$/g, '').trim() === '') return 'has an empty {{ }}';
    const unknown = [...action.matchAll(/(?<![\w).])\.([A-Za-z]\w*)/g)]
      .map(([, field]) => field ?? '')
      .find((field) => !TEMPLATE_FIELDS.includes(field));
    if (unknown !== undefined) return `uses .${unknown}; there are .${TEMPLATE_FIELDS.join(', .')}`;
  }
  return undefined;
}

const template = z.string().superRefine((value, context) => {
  const fault = templateFault(value);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

/** Namespaces of Kubernetes and OpenShift themselves, whose workloads the universal policy leaves alone. */
export const SYSTEM_NAMESPACES = [
  'kube-system',
  'kube-public',
  'kube-node-lease',
  'openshift',
  'openshift-monitoring',
  'openshift-operators',
] as const;

const common = {
  /** Members whose trust domains the workloads federate with; all that the cluster trusts when absent. */
  peers: z.array(z.string().min(1)).min(1).optional(),
};

/** Which workloads of every member federate: a ClusterSPIFFEID on each. */
export const policySchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('universal'),
    name: objectName.default('all-workloads-auto-federated'),
    /** Namespaces left out. */
    exceptNamespaces: z.array(dnsLabel).default([...SYSTEM_NAMESPACES]),
    ...common,
  }),
  z.strictObject({
    type: z.literal('label'),
    name: objectName.default('label-based-auto-federated'),
    /** Labels that a pod opts in with. */
    labels: z.record(labelKey, labelValue).default({ federated: 'true' }),
    ...common,
  }),
  z.strictObject({
    type: z.literal('namespace'),
    name: objectName.optional(),
    namespace: dnsLabel,
    ...common,
  }),
  z.strictObject({
    type: z.literal('custom'),
    name: objectName,
    podSelector: labelSelectorSchema.optional(),
    namespaceSelector: labelSelectorSchema.optional(),
    spiffeIDTemplate: template.optional(),
    /** Shown to workloads that have several identities. */
    hint: z.string().min(1).optional(),
    ttl: duration.optional(),
    jwtTtl: duration.optional(),
    dnsNameTemplates: z.array(z.string().min(1)).optional(),
    /** Applies only to pods that no other ClusterSPIFFEID selects. */
    fallback: z.boolean().optional(),
    ...common,
  }),
]);
export type Policy = z.infer<typeof policySchema>;

export const policiesSchema = z.array(policySchema).superRefine((policies, context) => {
  const seen = new Set<string>();
  for (const [index, policy] of policies.entries()) {
    const name = policyName(policy);
    if (seen.has(name)) {
      context.addIssue({ code: 'custom', message: `a second policy is called ${name}`, path: [index, 'name'] });
    }
    seen.add(name);
  }
});
