/** Names that the engine, its clients and the clusters agree on. */

export const TASK_QUEUE = 'spire-federator';

/** Where activities for the clusters of a region go, beside the task queue of the workflows. */
export function regionTaskQueue(taskQueue: string, region: string): string {
  return `${taskQueue}-${region}`;
}

/** Owner of the fields the engine writes by server-side apply. */
export const FIELD_MANAGER = 'spire-federator';

export const MANAGED_BY_LABEL = 'app.kubernetes.io/managed-by';
export const MANAGED_BY = 'spire-federator';
/** Label with the federation's name on every object the engine makes. */
export const FEDERATION_LABEL = 'spire-federator.io/federation';

/** Annotation on SPIRE server's ConfigMap: how to put server.conf back (ServerConfRecord as JSON). */
export const SERVER_CONF_RECORD = 'spire-federator.io/server-conf-record';
/** Annotation on SPIRE server's ConfigMap: how to undo the change that wrote it last (ServerConfUndo as JSON). */
export const SERVER_CONF_UNDO = 'spire-federator.io/server-conf-undo';
/** Annotation on SPIRE server's ConfigMap: `server.federation` as it was when the server last ran well with it. */
export const SERVER_CONF_LAST_GOOD = 'spire-federator.io/server-conf-last-good';
/**
 * Annotation on SPIRE server's ConfigMap, or on SpireServer: trust domains, with commas between them, whose bundles are to be
 * deleted as their relationships have been.
 */
export const PENDING_BUNDLES = 'spire-federator.io/bundles-to-delete';
/** Annotation on the StatefulSet: the federation for which its pod was given federation settings. */
export const SERVER_FEDERATION = 'spire-federator.io/federation';
/** Annotation on SpireServer: what the engine changed of spec.federation (SpireServerRecord as JSON). */
export const SPIRE_SERVER_RECORD = 'spire-federator.io/federation-record';
/** Annotation on SpireServer: how to undo the change that wrote it last (SpireServerUndo as JSON). */
export const SPIRE_SERVER_UNDO = 'spire-federator.io/federation-undo';
/** Annotation on the StatefulSet's pod template: hash of the federation settings the pod was started with. */
export const FEDERATION_HASH = 'spire-federator.io/federation-hash';
/** Annotation on an adopted StatefulSet: hash of the federation settings its pod runs with, which others started. */
export const ADOPTED_HASH = 'spire-federator.io/adopted-federation-hash';
/** Annotation on the StatefulSet: the engine added the bundle endpoint's container port. */
export const PORT_ADDED = 'spire-federator.io/federation-port-added';

/** Annotation on a ClusterSPIFFEID that the engine made: the policy it was rendered from (Policy as JSON). */
export const POLICY = 'spire-federator.io/policy';
/** Annotation on the ClusterFederatedTrustDomains of a federation with a hub: the hub's trust domain. */
export const HUB = 'spire-federator.io/hub';
/** Annotation on a ClusterFederatedTrustDomain: SPIRE stored a bundle of that trust domain before the federation. */
export const STORED_BEFORE = 'spire-federator.io/bundle-stored-before';

/** Annotation that comes and goes on a ClusterFederatedTrustDomain, for SPIRE controller manager to look at it again. */
export const NUDGE = 'spire-federator.io/nudge';

/** Name of the bundle endpoint's Service and Route in ZTWIM, and in the scripts that people federate with by hand. */
export const BUNDLE_ENDPOINT_OBJECT = 'spire-server-federation';
export const BUNDLE_ENDPOINT_PORT_NAME = 'federation';
/** Port of the bundle endpoint in SPIRE's documentation and in ZTWIM. */
export const BUNDLE_ENDPOINT_PORT = 8443;
/** SPIRE's default `refresh_hint` is 5 minutes (spire: doc/spire_server.md); peers poll at a quarter of it. */
export const DEFAULT_REFRESH_HINT_SECONDS = 300;
/** SPIRE raises any smaller hint to one minute (spire: pkg/common/bundleutil/refreshhint.go, MinimumRefreshHint). */
export const MIN_REFRESH_HINT_SECONDS = 60;

/** Name of SPIRE controller manager's ConfigMap, beside SPIRE server's. */
export const CONTROLLER_MANAGER = 'spire-controller-manager';

export const PROBE_NAMESPACE = 'spire-federator-probe';
export const DEFAULT_PROBE_IMAGE = 'spire-federator/probe:0.1.0';

/** Class name in ZTWIM, where SPIRE controller manager's configuration does not say another. */
export const DEFAULT_CLASS_NAME = 'zero-trust-workload-identity-manager-spire';

export const DEFAULT_FEDERATION = 'default';

/** Changes of one federation share this workflow ID, so that only one runs at a time. */
export function changeWorkflowId(federation: string): string {
  return `federation/${federation}/change`;
}

/** The other way round; undefined for any other workflow's ID. */
export function changeFederation(workflowId: string): string | undefined {
  return /^federation\/([^/]+)\/change$/.exec(workflowId)?.[1];
}

/** A plan only looks, so each has an ID of its own: it holds up no change, and no other plan. */
export function planWorkflowId(federation: string, plan: string): string {
  return `plan/${federation}/${plan}`;
}

/** Which of a federation's plans an ID is of; undefined for any other workflow's ID. */
export function planOf(workflowId: string): string | undefined {
  return /^plan\/[^/]+\/([^/]+)$/.exec(workflowId)?.[1];
}

/** The federation whose own workflow an ID is of; undefined for any other workflow's ID. */
export function federationOf(workflowId: string): string | undefined {
  return /^(?:federation|plan)\/([^/]+)\//.exec(workflowId)?.[1];
}

/**
 * Checks change nothing and may run beside anything, but not twice at once.
 * @param question what tells a look at some clusters only from that at all: whoever asks gets no other's answer
 */
export function verifyWorkflowId(federation: string, question?: string): string {
  return `federation/${federation}/verify${question === undefined ? '' : `/${question}`}`;
}

/** The one long-lived workflow of a federation: it watches over it. */
export function monitorWorkflowId(federation: string): string {
  return `federation/${federation}/monitor`;
}

/** The other way round; undefined for any other workflow's ID. */
export function monitorFederation(workflowId: string): string | undefined {
  return /^federation\/([^/]+)\/monitor$/.exec(workflowId)?.[1];
}

/** Repairs of one federation run one at a time, and never while a change runs. */
export function repairWorkflowId(federation: string): string {
  return `federation/${federation}/repair`;
}

/** Counts refreshes, one at a time per federation; the rotation that it may do is a change. */
export function rotateWatchWorkflowId(federation: string): string {
  return `federation/${federation}/rotateWatch`;
}

/** A cluster is onboarded and offboarded one at a time. */
export function clusterWorkflowId(cluster: string): string {
  return `cluster/${cluster}/change`;
}

const CANDIDATE = ' (candidate)';

/** Name under which activities reach a cluster by credentials that are still to be proven. */
export function candidateName(cluster: string): string {
  return `${cluster}${CANDIDATE}`;
}

/** The cluster whose candidate a name stands for; undefined for any other name. */
export function candidateOf(name: string): string | undefined {
  return name.endsWith(CANDIDATE) ? name.slice(0, -CANDIDATE.length) : undefined;
}

export function diagnoseWorkflowId(federation: string): string {
  return `federation/${federation}/diagnose`;
}

export function policiesWorkflowId(federation: string): string {
  return `federation/${federation}/policies`;
}

/** A schedule by which a federation is looked at; its runs have this ID and their time. */
export function scheduleId(federation: string, name: string): string {
  return `federation/${federation}/health/${name}`;
}

/** The other way round; undefined for any other schedule's ID. */
export function scheduleOf(id: string): { federation: string; name: string } | undefined {
  const [, federation, name] = /^federation\/([^/]+)\/health\/(.+)$/.exec(id) ?? [];
  return federation === undefined || name === undefined ? undefined : { federation, name };
}

/** What somebody is told of a federation, beside the workflow that found it. */
export function notifyWorkflowId(federation: string): string {
  return `federation/${federation}/notify`;
}

export function sysdumpWorkflowId(federation: string): string {
  return `federation/${federation}/sysdump`;
}

/** An edge's name: who trusts, and whose bundle it holds. */
export function edgeName(trusting: string, trusted: string): string {
  return `${trusting}←${trusted}`;
}

/** Name of a policy, and of its ClusterSPIFFEIDs. */
export function policyName(policy: { name?: string | undefined } & ({ namespace: string } | object)): string {
  return policy.name ?? ('namespace' in policy ? `${policy.namespace}-auto-federated` : '');
}

/** Query of a change workflow: answers ChangeProgress. */
export const PROGRESS_QUERY = 'progress';

/** Keyword search attributes by which workflows are found in the Temporal Web UI. */
export const SEARCH_ATTRIBUTES = ['Federation', 'TrustDomain', 'Verdict'] as const;
