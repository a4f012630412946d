import type { ControlType } from '../contract/control.js';
import type { KubernetesObject } from '../contract/kubernetes.js';

/** The operator's own Deployment, in the namespace of what it deploys (ztwim: its ClusterServiceVersion). */
export const OPERATOR_DEPLOYMENT = 'zero-trust-workload-identity-manager-controller-manager';
const CREATE_ONLY_ENV = 'CREATE_ONLY_MODE';
/** Operators before 1.0 do not have it (ztwim: config/manager/manager.yaml). */
const VERSION_ENV = 'OPERATOR_VERSION';
/** Operators before 1.0 are told by it; later ones ignore it. */
const CREATE_ONLY_ANNOTATION = 'ztwim.openshift.io/create-only';
/** Condition by which the operator says itself that it is in create-only mode. */
const CREATE_ONLY_CONDITION = 'CreateOnlyMode';

/** What a cluster shows of ZTWIM's operator. */
export interface OperatorEvidence {
  /** SpireServer `cluster`; undefined when there is none, or when the cluster does not know the kind. */
  spireServer?: KubernetesObject | undefined;
  /** The operator's Deployment; undefined when it is not where it is looked for. */
  deployment?: KubernetesObject | undefined;
  /** SPIRE server's ConfigMap. */
  configMap?: KubernetesObject | undefined;
}

export type Detection = { type: ControlType; told: string; createOnly?: string } | { problem: string };

/**
 * How a cluster's SPIRE server is configured, and how that was told.
 * @param said what the inventory says
 */
export function detectControl(cluster: string, said: ControlType | undefined, evidence: OperatorEvidence): Detection {
  const { spireServer, configMap } = evidence;
  const owned = isOwned(configMap);
  const createOnly = createOnlyMode(evidence);
  if (said === 'operator') return operatorAsSaid(cluster, spireServer, createOnly);
  if (spireServer === undefined || !owned) {
    return { type: 'configMap', told: said === undefined ? 'no operator owns the ConfigMap' : 'the inventory says so' };
  }
  const name = `ConfigMap ${configMap?.metadata.name ?? ''}`;
  if (createOnly !== undefined) {
    return { type: 'configMap', told: `the operator is in create-only mode: ${createOnly}`, createOnly };
  }
  if (said === 'configMap') {
    return {
      problem: `${cluster}: the inventory says control: configMap, but the operator of the Zero Trust Workload Identity Manager owns ${name} and reverts every edit of it. Take control out of the inventory, so that SpireServer cluster is changed instead, or put the operator into create-only mode (${CREATE_ONLY_ENV}=true in its Subscription).`,
    };
  }
  return { type: 'operator', told: `SpireServer cluster owns ${name}, and its operator is not in create-only mode` };
}

function operatorAsSaid(
  cluster: string,
  spireServer: KubernetesObject | undefined,
  createOnly: string | undefined,
): Detection {
  if (spireServer === undefined) {
    return {
      problem: `${cluster}: the inventory says control: operator, but there is no SpireServer cluster (operator.openshift.io). Take control out of the inventory, or install the Zero Trust Workload Identity Manager.`,
    };
  }
  if (createOnly !== undefined) {
    return {
      problem: `${cluster}: the inventory says control: operator, but the operator is in create-only mode (${createOnly}) and ignores changes of SpireServer cluster. End that mode, or say control: configMap.`,
    };
  }
  return { type: 'operator', told: 'the inventory says so' };
}

/** Why the operator would not do what SpireServer says, a sentence each. */
export function operatorComplaints({ spireServer, deployment }: OperatorEvidence): string[] {
  const status = deployment?.['status'] as { availableReplicas?: number } | undefined;
  const down = deployment !== undefined && (status?.availableReplicas ?? 0) === 0;
  return [
    ...(down ? [`the operator does not run: Deployment ${deployment.metadata.name} has no available replica`] : []),
    ...conditions(spireServer)
      .filter(({ type, status: value }) => REFUSALS.has(type) && value === 'False')
      .map(({ type, message }) => `SpireServer cluster has the condition ${type}=False: ${message ?? ''}`.trim()),
  ];
}

/** Conditions with which the operator says that it does not reconcile (ztwim: pkg/controller/spire-server/controller.go). */
const REFUSALS: ReadonlySet<string> = new Set(['ConfigurationValid', 'TTLConfigurationValid']);

/** How it was told that the operator leaves existing objects alone; undefined when it does not. */
function createOnlyMode({ spireServer, deployment }: OperatorEvidence): string | undefined {
  const condition = conditions(spireServer).find(({ type }) => type === CREATE_ONLY_CONDITION);
  const bySelf = condition?.status === 'True' ? `condition ${CREATE_ONLY_CONDITION} of SpireServer cluster` : undefined;
  const annotated =
    spireServer?.metadata.annotations?.[CREATE_ONLY_ANNOTATION] === 'true'
      ? `annotation ${CREATE_ONLY_ANNOTATION} of SpireServer cluster`
      : undefined;
  const environment = environmentOf(deployment);
  const variable = environment.find(({ name }) => name === CREATE_ONLY_ENV);
  if (variable?.value?.trim().toUpperCase() === 'TRUE') {
    return `env ${CREATE_ONLY_ENV}=${variable.value} of Deployment ${OPERATOR_DEPLOYMENT}`;
  }
  // Set from elsewhere: what the operator says of itself counts.
  if (variable !== undefined && variable.value === undefined) return bySelf;
  const version = environment.find(({ name }) => name === VERSION_ENV)?.value;
  return version === undefined || version.startsWith('0.') ? (annotated ?? bySelf) : undefined;
}

function environmentOf(deployment: KubernetesObject | undefined): { name: string; value?: string }[] {
  const spec = deployment?.['spec'] as
    { template?: { spec?: { containers?: { env?: { name: string; value?: string }[] }[] } } } | undefined;
  return (spec?.template?.spec?.containers ?? []).flatMap(({ env = [] }) => env);
}

function conditions(object: KubernetesObject | undefined): { type: string; status: string; message?: string }[] {
  const status = object?.['status'] as
    { conditions?: { type: string; status: string; message?: string }[] } | undefined;
  return status?.conditions ?? [];
}

function isOwned(configMap: KubernetesObject | undefined): boolean {
  const { ownerReferences = [] } = (configMap?.metadata ?? {}) as { ownerReferences?: { kind: string }[] };
  return ownerReferences.some(({ kind }) => kind === 'SpireServer');
}
