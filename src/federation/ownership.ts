import type { KubernetesObject } from '../contract/kubernetes.js';
import { FEDERATION_LABEL, FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL } from '../contract/names.js';

/** Marks an object as made by the engine for a federation. */
export function owned<T extends KubernetesObject>(object: T, federation: string): T {
  const labels = { ...object.metadata.labels, ...ownershipLabels(federation) };
  return { ...object, metadata: { ...object.metadata, labels } };
}

/** The labels by which the engine knows its own objects. */
export function ownershipLabels(federation: string): Record<string, string> {
  return { [MANAGED_BY_LABEL]: MANAGED_BY, [FEDERATION_LABEL]: federation };
}

/** The federation for which the engine made an object; undefined on somebody else's. */
export function owningFederation(object: KubernetesObject): string | undefined {
  const labels = object.metadata.labels ?? {};
  return labels[MANAGED_BY_LABEL] === MANAGED_BY ? labels[FEDERATION_LABEL] : undefined;
}

/**
 * Whether the engine made an object whose labels somebody took off: by the API server's own record its spec was applied
 * by the engine, which it does to nothing of others. An object that somebody made anew in its place has no such record.
 */
export function hasLostLabels({ metadata }: KubernetesObject): boolean {
  const { [MANAGED_BY_LABEL]: manager, [FEDERATION_LABEL]: federation } = metadata.labels ?? {};
  if (![undefined, MANAGED_BY].includes(manager) || (manager !== undefined && federation !== undefined)) return false;
  return (metadata.managedFields ?? []).some(
    (each) => each.manager === FIELD_MANAGER && each.operation === 'Apply' && each.fieldsV1?.['f:spec'] !== undefined,
  );
}

/** Metadata that the API server sets by itself and that no one can write back. */
const SERVER_SET = ['resourceVersion', 'uid', 'generation', 'creationTimestamp', 'managedFields', 'selfLink'];

/** An object without status and server-set metadata: what an undo has to restore. */
export function restorable(object: KubernetesObject): KubernetesObject {
  const { status: _status, ...rest } = object;
  const metadata = Object.fromEntries(
    Object.entries(object.metadata).filter(([key]) => !SERVER_SET.includes(key)),
  ) as unknown as KubernetesObject['metadata'];
  return { ...rest, metadata };
}

/** What kubectl keeps of the object as it was applied: all of it, whatever is in it. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** An object without private keys: a Route of somebody else may carry one in its TLS settings. */
export function withoutSecrets(object: KubernetesObject): KubernetesObject {
  const annotations = Object.fromEntries(
    Object.entries(object.metadata.annotations ?? {}).filter(([key]) => key !== LAST_APPLIED),
  );
  const metadata = { ...object.metadata, ...(object.metadata.annotations === undefined ? {} : { annotations }) };
  const spec = object['spec'];
  if (!isRecord(spec) || !isRecord(spec['tls'])) return { ...object, metadata };
  const { key: _key, certificate: _certificate, ...tls } = spec['tls'];
  return { ...object, metadata, spec: { ...spec, tls } };
}

/**
 * Whether an object has everything that is wanted of it. What the API server or others added besides is not looked at;
 * lists must have the same length.
 */
export function covers(actual: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(actual) &&
      actual.length === wanted.length &&
      wanted.every((item, index) => covers(actual[index], item))
    );
  }
  if (typeof wanted === 'object' && wanted !== null) {
    if (typeof actual !== 'object' || actual === null) return false;
    const fields = actual as Record<string, unknown>;
    return Object.entries(wanted).every(([key, value]) => value === undefined || covers(fields[key], value));
  }
  return actual === wanted;
}

/**
 * JSON merge patch (RFC 7386) that turns `current` into `target`: keys that only `current` has become null.
 */
export function mergePatch(current: unknown, target: unknown): unknown {
  if (!isRecord(current) || !isRecord(target)) return target;
  const patch: Record<string, unknown> = {};
  for (const key of new Set([...Object.keys(current), ...Object.keys(target)])) {
    if (!(key in target)) patch[key] = null;
    else if (JSON.stringify(current[key]) !== JSON.stringify(target[key]))
      patch[key] = mergePatch(current[key], target[key]);
  }
  return patch;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
