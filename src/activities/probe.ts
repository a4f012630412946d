import { Context } from '@temporalio/activity';
import type {
  ClusterRequest,
  DeployedProbe,
  DeployProbeRequest,
  ProbeOutcome,
  RunProbeRequest,
  StepOutcome,
} from '../contract/activities.js';
import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { DEFAULT_PROBE_IMAGE, PROBE_NAMESPACE } from '../contract/names.js';
import { EXPOSING_KINDS } from '../federation/exposingKinds.js';
import { exposureProblems, exposureStrategy } from '../federation/exposure.js';
import { owned, owningFederation } from '../federation/ownership.js';
import { CLUSTER_SPIFFE_ID } from '../federation/policy.js';
import {
  PROBE_CONTAINER,
  PROBE_ENDPOINT,
  PROBE_ROLES,
  probeExposureContext,
  probeIdentity,
  probeIdentityName,
  probePod,
  probeSpiffeId,
} from '../federation/probe.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { execInPod } from '../kubernetes/exec.js';
import { applyObject, deleteObject, readObject, type ObjectReference } from '../kubernetes/objects.js';
import { isReady, podReason, readPod } from '../kubernetes/rollout.js';
import { waitFor, type Look } from '../kubernetes/wait.js';
import type { Clusters } from './clusters.js';
import { Nudge } from './nudge.js';

/** What `probe dial` prints. */
interface DialReport {
  ok: boolean;
  self?: string;
  server?: string;
  handshakeMs?: number;
  reason?: string;
  error?: string;
  /** SPIFFE IDs that the workload has besides its own. */
  otherIdentities?: string[];
}

/** Ways in which a handshake is refused for want of trust, and not for want of a network. */
const REFUSED = ['no-bundle', 'unknown-authority', 'refused-by-peer'];

/** Test workloads, and the mTLS handshakes between them: the check that matters. */
export function probeActivities(clusters: Clusters) {
  return {
    /** Deploys the test workloads of one cluster and waits until they have their identity and their address. */
    async deployProbe(request: DeployProbeRequest): Promise<DeployedProbe> {
      const { cluster, federation, exposure, trustDomain, spiffeId, timeoutMs } = request;
      const { connection } = await clusters.get(cluster);
      const { probeImage = DEFAULT_PROBE_IMAGE } = await clusters.read();
      const signal = Context.current().cancellationSignal;
      const reach = exposure && { context: probeExposureContext(exposure, trustDomain), exposure };
      const manifests = (reach === undefined ? [] : exposureStrategy(reach.exposure.type).objects(reach.context)).map(
        (object) => owned(object, federation),
      );
      const pods = PROBE_ROLES.map((role) =>
        probePod(
          role,
          probeImage,
          federation,
          role === 'federated' && spiffeId ? new URL(spiffeId).pathname : undefined,
        ),
      );
      await Promise.all([...manifests, ...pods].map((object) => applyOwn(connection, object, federation)));
      // SPIRE controller manager passes over pods that are not placed yet and looks again only 10 s later: identities
      // come after placement.
      await awaitPods(connection, (pod) => pod.spec.nodeName !== undefined, 'is placed on a node', timeoutMs, signal);
      await Promise.all(PROBE_ROLES.map((role) => applyOwn(connection, probeIdentity(role, request), federation)));
      const nudge = new Nudge(connection, federation, CLUSTER_SPIFFE_ID);
      const identities = PROBE_ROLES.map((role) => probeIdentityName(role, federation));
      await awaitPods(connection, isReady, 'has an identity and is ready', timeoutMs, signal, () =>
        nudge.whileMissing(identities, hasEntries),
      );
      const taken = spiffeId ?? probeSpiffeId(trustDomain, 'federated');
      if (reach === undefined) return { spiffeId: taken };
      const address = await waitFor(
        async (): Promise<Look<string>> => {
          const live = await Promise.all(manifests.map((object) => readObject(connection, object)));
          const found = live.filter((object) => object !== undefined);
          const url = exposureStrategy(reach.exposure.type).endpointUrl(reach.context, found);
          const problems = exposureProblems(reach.context, found);
          if (url === undefined || problems.length > 0)
            return { done: false, seen: problems.join('; ') || 'no address is assigned' };
          const { hostname, port } = new URL(url);
          return { done: true, value: `${hostname}:${port === '' ? '443' : port}` };
        },
        { what: `${cluster}: the test workload has an address`, timeoutMs, signal },
      );
      return { address, spiffeId: taken };
    },

    /**
     * Shakes hands from one cluster's test workload to another's, or to any server. It must succeed, or be refused for
     * want of trust, as is asked for; agents need some seconds to deliver entries and bundles.
     * @throws FederatorError ProbeFailed when the outcome stays another one until the time is over
     */
    async runProbe(request: RunProbeRequest): Promise<ProbeOutcome> {
      const { cluster, role, expect, address, anyServer = false, expectSpiffeId, timeoutMs } = request;
      const { connection } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const target = { namespace: PROBE_NAMESPACE, pod: role, container: PROBE_CONTAINER };
      try {
        return await waitFor(
          async (): Promise<Look<ProbeOutcome>> => {
            const options = ['--address', address, '--expect', expectSpiffeId, '--timeout', '5s'];
            const command = ['./probe', 'dial', ...options, ...(anyServer ? ['--any-server'] : [])];
            const { stdout, stderr } = await execInPod(connection, target, command, { signal });
            const report = parseReport(stdout);
            if (report === undefined) return { done: false, seen: `the probe said: ${stderr || stdout || 'nothing'}` };
            if (expect === 'handshake' && report.ok) {
              return {
                done: true,
                value: { ok: true, evidence: `mTLS with ${report.server} in ${report.handshakeMs} ms` },
              };
            }
            if (expect === 'refusal' && report.ok && report.otherIdentities !== undefined) {
              return {
                done: true,
                value: {
                  ok: true,
                  evidence: `refusal not shown: another ClusterSPIFFEID federates this workload, as ${report.otherIdentities.join(', ')}`,
                },
              };
            }
            if (expect === 'refusal' && !report.ok && REFUSED.includes(report.reason ?? '')) {
              return { done: true, value: { ok: true, evidence: `refused as it must be (${report.reason})` } };
            }
            return { done: false, seen: report.ok ? 'it was not refused' : `${report.reason}: ${report.error}` };
          },
          {
            what: `${cluster}: ${role} test workload, dialling ${expectSpiffeId}, ${expect === 'handshake' ? 'succeeds' : 'is refused'}`,
            timeoutMs,
            signal,
          },
        );
      } catch (error) {
        if (error instanceof FederatorError && error.type === 'TimedOut') {
          throw new FederatorError('ProbeFailed', `${error.message}. To federate without this proof: --no-probe.`);
        }
        throw error;
      }
    },

    /** Removes the test workloads of one cluster and waits until they are gone. */
    async removeProbe({
      cluster,
      federation,
      timeoutMs,
    }: ClusterRequest & { timeoutMs: number }): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const references = probeReferences(federation);
      const deleted = await Promise.all(
        references.map(async (reference) => {
          const live = await readProbeObject(connection, reference);
          if (live === undefined || owningFederation(live) !== federation) return false;
          return deleteObject(connection, reference);
        }),
      );
      await waitFor(
        async (): Promise<Look<true>> => {
          const left = await Promise.all(references.map((reference) => readProbeObject(connection, reference)));
          const rest = left.filter((object) => object !== undefined && owningFederation(object) === federation);
          return rest.length === 0
            ? { done: true, value: true }
            : {
                done: false,
                seen: `${rest.map((object) => `${object?.kind} ${object?.metadata.name}`).join(', ')} still there`,
              };
        },
        { what: `${cluster}: the test workloads are gone`, timeoutMs, signal },
      );
      return { changed: deleted.includes(true) };
    },
  };
}

/** Every object a probe can have made, whichever way it was exposed. */
function probeReferences(federation: string): ObjectReference[] {
  const exposed = { name: PROBE_ENDPOINT, namespace: PROBE_NAMESPACE };
  return [
    ...PROBE_ROLES.map((role) => ({
      ...CLUSTER_SPIFFE_ID,
      metadata: { name: probeIdentityName(role, federation) },
    })),
    ...PROBE_ROLES.map((role) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: role, namespace: PROBE_NAMESPACE },
    })),
    { apiVersion: 'v1', kind: 'Service', metadata: exposed },
    ...EXPOSING_KINDS.map(({ apiVersion, kind }) => ({ apiVersion, kind, metadata: exposed })),
  ];
}

/** An object that a probe may have made. */
async function readProbeObject(
  connection: ClusterConnection,
  reference: ObjectReference,
): Promise<KubernetesObject | undefined> {
  try {
    return await readObject(connection, reference);
  } catch (error) {
    // Where the engine may not even look, it cannot have made one.
    if (error instanceof FederatorError && error.type === 'Forbidden' && isLeading(reference)) return undefined;
    throw error;
  }
}

/** A Route or an Ingress: which of them a probe takes, if any, depends on how the cluster is exposed. */
function isLeading({ kind }: ObjectReference): boolean {
  return kind === 'Route' || kind === 'Ingress';
}

async function applyOwn(connection: ClusterConnection, object: KubernetesObject, federation: string): Promise<void> {
  const live = await readObject(connection, object);
  if (live !== undefined && owningFederation(live) !== federation) {
    throw new FederatorError(
      'ForeignObject',
      `${connection.cluster.name}: ${object.kind} ${object.metadata.name} of the test workloads exists and is not this federation's. Delete it, or use --no-probe.`,
    );
  }
  await applyObject(connection, object);
}

async function awaitPods(
  connection: ClusterConnection,
  isDone: (pod: NonNullable<Awaited<ReturnType<typeof readPod>>>) => boolean,
  what: string,
  timeoutMs: number,
  signal: AbortSignal,
  meanwhile?: () => Promise<void>,
): Promise<void> {
  await Promise.all(
    PROBE_ROLES.map((role) =>
      waitFor(
        async (): Promise<Look<true>> => {
          const pod = await readPod(connection, PROBE_NAMESPACE, role);
          if (pod !== undefined && isDone(pod)) return { done: true, value: true };
          await meanwhile?.();
          return { done: false, seen: pod === undefined ? 'it is not there' : podReason(role, pod) };
        },
        { what: `${connection.cluster.name}: ${role} test workload ${what}`, timeoutMs, signal },
      ),
    ),
  );
}

/** Whether SPIRE controller manager has acted on a ClusterSPIFFEID of a test workload. */
function hasEntries(identity: KubernetesObject): boolean {
  const { stats } = (identity['status'] ?? {}) as { stats?: { entriesToSet?: number } };
  return (stats?.entriesToSet ?? 0) > 0;
}

function parseReport(stdout: string): DialReport | undefined {
  try {
    return JSON.parse(stdout) as DialReport;
  } catch {
    return undefined;
  }
}
