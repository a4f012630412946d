import type { AdoptRequest, FederatorActivities, StepOutcome } from '../contract/activities.js';
import type { ControlType } from '../contract/control.js';
import { FederatorError } from '../contract/errors.js';
import { ownershipLabels, owningFederation } from '../federation/ownership.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { patchObject, readObject, type ObjectReference } from '../kubernetes/objects.js';
import type { Clusters } from './clusters.js';
import { operatorControl } from './operatorControl.js';
import { configMapControl } from './server.js';

/** What is done to the configuration of a SPIRE server, in one of the ways in which that can be done. */
export interface ServerControl extends Pick<
  FederatorActivities,
  'configureServer' | 'rolloutServer' | 'restoreServer' | 'forgetUndo' | 'removeFederationFromServer'
> {
  /** Marks what others configured as the engine's, without changing what it does. */
  adoptServer(request: AdoptRequest): Promise<StepOutcome>;
}

/** Configuring SPIRE servers, each in the way of its cluster. */
export function serverActivities(clusters: Clusters) {
  const controls: Readonly<Record<ControlType, ServerControl>> = {
    configMap: configMapControl(clusters),
    operator: operatorControl(clusters),
  };
  const by = ({ control }: { control: ControlType }): ServerControl => controls[control];
  const activities: Omit<ServerControl, 'adoptServer'> & Pick<FederatorActivities, 'adoptObjects'> = {
    configureServer: (request) => by(request).configureServer(request),
    rolloutServer: (request) => by(request).rolloutServer(request),
    restoreServer: (request) => by(request).restoreServer(request),
    forgetUndo: (request) => by(request).forgetUndo(request),
    removeFederationFromServer: (request) => by(request).removeFederationFromServer(request),

    /** Marks objects of others as the engine's: labels and annotations, and nothing that restarts or reconfigures. */
    async adoptObjects(request) {
      const { cluster, federation, objects } = request;
      const { connection } = await clusters.get(cluster);
      const marked = await Promise.all(
        objects.map(({ reference, annotations }) => adoptObject(connection, reference, annotations, federation)),
      );
      const server = await by(request).adoptServer(request);
      return { changed: server.changed || marked.includes(true) };
    },
  };
  return activities;
}

/** @throws FederatorError ForeignObject when another federation's engine has it */
async function adoptObject(
  connection: ClusterConnection,
  reference: ObjectReference,
  annotations: Record<string, string> = {},
  federation: string,
): Promise<boolean> {
  const live = await readObject(connection, reference);
  const owner = live === undefined ? undefined : owningFederation(live);
  if (live === undefined || owner === federation) return false;
  const what = `${connection.cluster.name}: ${reference.kind} ${reference.metadata.name}`;
  if (owner !== undefined) throw new FederatorError('ForeignObject', `${what} belongs to federation ${owner}.`);
  const labels = ownershipLabels(federation);
  await patchObject(connection, {
    ...reference,
    metadata: { ...reference.metadata, ...{ labels, annotations } },
  });
  return true;
}
