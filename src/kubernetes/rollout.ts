import type { V1PodSpec, V1PodStatus, V1StatefulSetSpec, V1StatefulSetStatus } from '@kubernetes/client-node';
import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import type { ClusterConnection } from './connect.js';
import { deleteObject, readObject } from './objects.js';
import { waitFor, type Look } from './wait.js';

export type StatefulSet = KubernetesObject & { spec: V1StatefulSetSpec; status?: V1StatefulSetStatus };
export type Pod = KubernetesObject & { spec: V1PodSpec; status?: V1PodStatus };

/** How long a pod of an older revision may stay unready before it is replaced by hand. */
const STUCK_AFTER_MS = 5_000;

/**
 * Waits until the StatefulSet's only pod runs the newest revision and is ready.
 *
 * A StatefulSet does not replace a pod that never became ready, even when its template was mended since
 * (kubernetes/kubernetes#67250): such a pod is deleted here, so that a restored configuration can take effect.
 * @throws FederatorError NotReady when the time is over, with the pod's own reason
 */
export async function waitForRollout(
  connection: ClusterConnection,
  { namespace, name }: { namespace: string; name: string },
  options: { timeoutMs: number; signal?: AbortSignal | undefined; onLook?: (seen: string) => void },
): Promise<void> {
  const pod = `${name}-0`;
  let stuckSince: number | undefined;
  await waitFor(
    async (): Promise<Look<true>> => {
      const [set, current] = await Promise.all([
        readStatefulSet(connection, namespace, name),
        readPod(connection, namespace, pod),
      ]);
      const wanted = newestRevision(set);
      if (wanted === undefined) return { done: false, seen: `StatefulSet ${name} is being updated` };
      if (current === undefined) return { done: false, seen: `pod ${pod} is being created` };
      if (isRolledOut(set, current)) return { done: true, value: true };
      if (revisionOf(current) === wanted || isReady(current) || isLeaving(current)) {
        stuckSince = undefined;
      } else {
        stuckSince ??= Date.now();
        if (Date.now() - stuckSince > STUCK_AFTER_MS) {
          await deleteObject(connection, { apiVersion: 'v1', kind: 'Pod', metadata: { name: pod, namespace } });
          stuckSince = undefined;
        }
      }
      return { done: false, seen: podReason(pod, current) };
    },
    { what: `${connection.cluster.name}: pod ${pod} runs the newest revision and is ready`, ...options },
  );
}

/** Whether a StatefulSet's only pod runs its newest revision and is ready. */
export function isRolledOut(set: StatefulSet, pod: Pod): boolean {
  const newest = newestRevision(set);
  return newest !== undefined && revisionOf(pod) === newest && isReady(pod) && !isLeaving(pod);
}

export function isReady({ status }: Pod): boolean {
  return status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True') ?? false;
}

function isLeaving({ metadata }: Pod): boolean {
  return metadata.deletionTimestamp !== undefined;
}

function revisionOf({ metadata }: Pod): string | undefined {
  return metadata.labels?.['controller-revision-hash'];
}

/** Undefined until the StatefulSet's controller has seen its template as it is now. */
function newestRevision({ metadata, status }: StatefulSet): string | undefined {
  const observed = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  return observed ? status?.updateRevision : undefined;
}

/** @throws FederatorError NotFound */
export async function readStatefulSet(
  connection: ClusterConnection,
  namespace: string,
  name: string,
): Promise<StatefulSet> {
  const found = await readObject<StatefulSet>(connection, {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name, namespace },
  });
  if (found === undefined) {
    throw new FederatorError(
      'NotFound',
      `${connection.cluster.name}: there is no SPIRE server: no StatefulSet ${name} in namespace ${namespace}. Install SPIRE there, or set namespace and server of this cluster in the inventory.`,
    );
  }
  return found;
}

export async function readPod(
  connection: ClusterConnection,
  namespace: string,
  name: string,
): Promise<Pod | undefined> {
  return readObject<Pod>(connection, { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace } });
}

/** Why a pod is not ready, as its own status says it. */
export function podReason(name: string, pod: Pod): string {
  const container = pod.status?.containerStatuses?.find((each) => each.state?.waiting ?? each.state?.terminated);
  const state = container?.state?.waiting ?? container?.state?.terminated;
  if (pod.metadata.deletionTimestamp !== undefined) return `pod ${name} is terminating`;
  if (state !== undefined)
    return `pod ${name}: container ${container?.name}: ${state.reason}: ${state.message ?? ''}`.trim();
  return `pod ${name} is ${pod.status?.phase ?? 'unknown'} and not ready`;
}
