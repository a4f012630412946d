import type { IdentityFacts } from '../contract/facts.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import type { LabelSelector } from '../contract/labelSelector.js';
import { POLICY } from '../contract/names.js';
import { policySchema, type Policy } from '../contract/policy.js';
import { hasLostLabels, owningFederation, restorable } from './ownership.js';

interface IdentityBody {
  spec?: {
    className?: string;
    fallback?: boolean;
    hint?: string;
    spiffeIDTemplate?: string;
    federatesWith?: string[];
    podSelector?: LabelSelector;
    namespaceSelector?: LabelSelector;
  };
  status?: { stats?: Record<string, number> };
}

/** Reads a ClusterSPIFFEID. */
export function readIdentity(object: KubernetesObject): IdentityFacts {
  const { spec = {}, status = {} } = object as IdentityBody;
  const federation = owningFederation(object);
  const lostLabels = hasLostLabels(object);
  const policy = federation === undefined ? undefined : readPolicy(object.metadata.annotations?.[POLICY]);
  return {
    name: object.metadata.name,
    createdAt: object.metadata.creationTimestamp ?? '',
    uid: object.metadata.uid ?? '',
    ...(spec.className === undefined ? {} : { className: spec.className }),
    fallback: spec.fallback ?? false,
    hint: spec.hint ?? '',
    spiffeIDTemplate: spec.spiffeIDTemplate ?? '',
    federatesWith: spec.federatesWith ?? [],
    podSelector: spec.podSelector ?? {},
    namespaceSelector: spec.namespaceSelector ?? {},
    stats: status.stats ?? {},
    ...(federation === undefined ? {} : { federation }),
    ...(lostLabels ? { lostLabels } : {}),
    ...(policy === undefined ? {} : { policy }),
    ...(policy === undefined && spec.federatesWith === undefined && !lostLabels ? {} : { object: restorable(object) }),
  };
}

/** Undefined where somebody edited it beyond reading: then the policy is the one that the other members have. */
function readPolicy(annotation: string | undefined): Policy | undefined {
  if (annotation === undefined) return undefined;
  try {
    return policySchema.safeParse(JSON.parse(annotation)).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
