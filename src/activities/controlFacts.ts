import type { ControlFacts } from '../contract/control.js';
import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import {
  detectControl,
  OPERATOR_DEPLOYMENT,
  operatorComplaints,
  type OperatorEvidence,
} from '../federation/controlDetection.js';
import { pendingBundles } from '../federation/pendingBundles.js';
import { DEFAULT_PROFILE, SPIRE_SERVER } from '../federation/spireServerPlan.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { kindExists, patchObject, readObject } from '../kubernetes/objects.js';
import { readSpireServerRecord } from './annotation.js';
import { readFederation } from './operatorControl.js';

/**
 * How a cluster's SPIRE server is configured. Changes nothing.
 * @param operated whether the cluster knows SpireServer, where that is known already
 * @param preflight ask the API server too whether it would take spec.federation
 * @throws FederatorError InvalidInput when what the inventory says does not go with the cluster
 */
export async function readControl(
  connection: ClusterConnection,
  { operated, preflight = false }: { operated?: boolean; preflight?: boolean } = {},
): Promise<ControlFacts> {
  const { name, control } = connection.cluster;
  const known = operated ?? (await kindExists(connection, SPIRE_SERVER.apiVersion, SPIRE_SERVER.kind));
  const evidence = known ? await readEvidence(connection) : {};
  const detected = detectControl(name, control, evidence);
  if ('problem' in detected) throw new FederatorError('InvalidInput', detected.problem);
  const { type, told, createOnly } = detected;
  const federation = readFederation(evidence.spireServer);
  if (type === 'configMap') {
    if (createOnly === undefined) return { type, told };
    return { type, told, createOnly, ...(federation === undefined ? {} : { federation }) };
  }
  const record = readSpireServerRecord(name, evidence.spireServer);
  const pending = pendingBundles(evidence.spireServer);
  const refused = preflight && federation === undefined ? await refusal(connection) : [];
  return {
    type,
    told,
    ...(federation === undefined ? {} : { federation }),
    ...(record === undefined ? {} : { record }),
    ...(pending.length === 0 ? {} : { pendingBundles: pending }),
    complaints: [...operatorComplaints(evidence), ...refused],
  };
}

async function readEvidence(connection: ClusterConnection): Promise<OperatorEvidence> {
  const { namespace, server } = connection.cluster;
  const [spireServer, deployment, configMap] = await Promise.all([
    readObject(connection, SPIRE_SERVER),
    readObject(connection, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: OPERATOR_DEPLOYMENT, namespace },
    }),
    readObject(connection, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: server, namespace } }),
  ]);
  return { spireServer, deployment, configMap };
}

/** Why the API server would not take spec.federation, which can hardly be taken back: it is asked before. */
async function refusal(connection: ClusterConnection): Promise<string[]> {
  const patch = { ...SPIRE_SERVER, spec: { federation: { bundleEndpoint: { profile: DEFAULT_PROFILE } } } };
  let outcome: KubernetesObject;
  try {
    outcome = await patchObject(connection, patch, 'merge', { dryRun: true });
  } catch (error) {
    if (!(error instanceof FederatorError) || error.retryable) throw error;
    // What is wrong with its permissions is said with all the others.
    if (error.type === 'Forbidden') return [];
    return [`the API server would refuse spec.federation of SpireServer cluster: ${error.message}`];
  }
  if (readFederation(outcome) !== undefined) return [];
  return [
    'SpireServer knows no spec.federation on this cluster: the operator is older than 1.0. Upgrade it, or put it into create-only mode, in which server.conf is edited instead',
  ];
}
