import { Context } from '@temporalio/activity';
import type { FederatorActivities } from '../../src/contract/activities.js';
import type { ClusterFacts } from '../../src/contract/facts.js';
import { exposureStrategy } from '../../src/federation/exposure.js';
import { owned } from '../../src/federation/ownership.js';
import { exposureContext } from '../../src/federation/plan.js';
import { wantedRelationship } from '../../src/federation/relationship.js';
import { freshCluster } from './freshCluster.js';

type Name = keyof FederatorActivities;

export interface Call {
  name: Name;
  /** The step's ID, or of an undo what Temporal numbered it. */
  id: string;
  cluster: string;
  attempt: number;
}

/** What goes wrong in an activity: called before it takes effect; may throw, or wait to be cancelled. */
export type Interference = (call: Call) => Promise<void> | void;

/**
 * Activities that note what they are asked, on clusters that exist only here: for tests of what the workflows do with
 * order, retries and undos. What activities really do is tested on the sandbox.
 */
export class RecordedActivities {
  readonly calls: Call[] = [];
  interfere: Interference = () => undefined;
  /** Clusters that cannot be asked whether they are members. */
  unreachable: string[] = [];
  private readonly clusters = new Map<string, ClusterFacts>();

  constructor(...names: string[]) {
    for (const name of names) this.clusters.set(name, freshCluster(name));
  }

  /** Names of the activities that ran, each time they took effect. */
  get names(): Name[] {
    return this.calls.map(({ name }) => name);
  }

  facts(cluster: string): ClusterFacts {
    const facts = this.clusters.get(cluster);
    if (facts === undefined) throw new Error(`there is no cluster ${cluster}`);
    return facts;
  }

  change(cluster: string, change: Partial<ClusterFacts>): void {
    this.clusters.set(cluster, { ...this.facts(cluster), ...change });
  }

  /** The activities, as a worker wants them. */
  get activities(): FederatorActivities {
    const noted = { changed: true };
    return {
      readFacts: this.record('readFacts', ({ cluster }) => ({ facts: this.facts(cluster), problems: [] })),
      findMembers: this.record('findMembers', () => ({
        members: [...this.clusters.keys()].filter((cluster) => !this.unreachable.includes(cluster)),
        unknown: this.unreachable.map((cluster) => ({
          cluster,
          type: 'ClusterUnreachable' as const,
          message: `${cluster}: its API server cannot be reached.`,
        })),
      })),
      applyObject: this.record('applyObject', ({ cluster, object }) => {
        this.change(cluster, { endpointObjects: [...this.facts(cluster).endpointObjects, object] });
        return noted;
      }),
      restoreObject: this.record('restoreObject', () => noted),
      awaitEndpointUrl: this.record('awaitEndpointUrl', ({ cluster }) => {
        const endpointUrl = `https://federation.${cluster}.test`;
        this.change(cluster, { endpointUrl });
        return endpointUrl;
      }),
      editServerConf: this.record('editServerConf', ({ cluster, wanted }) => {
        const { address, port, refreshHintSeconds } = wanted.bundleEndpoint;
        this.change(cluster, {
          serverConf: {
            trustDomain: `${cluster}.test`,
            bundleEndpoint: { address, port, refreshHint: `${refreshHintSeconds}s` },
            federatesWith: wanted.federatesWith,
          },
          serverConfRecorded: true,
          recordedPeers: Object.keys(wanted.federatesWith),
        });
        return noted;
      }),
      rolloutServer: this.record('rolloutServer', ({ cluster }) => {
        this.change(cluster, { statefulSet: { portDeclared: true, portAdded: true, federationHash: 'hash' } });
        return noted;
      }),
      restoreServer: this.record('restoreServer', () => noted),
      removeFederationFromServer: this.record('removeFederationFromServer', () => noted),
      readBundle: this.record('readBundle', ({ cluster }) => ({
        trustDomain: `${cluster}.test`,
        fingerprint: `SHA256:${cluster}`,
        keyCount: 1,
        bundle: '{"keys":[]}',
      })),
      applyRelationship: this.record('applyRelationship', ({ cluster, relationship }) => {
        this.change(cluster, { relationships: [...this.facts(cluster).relationships, relationship] });
        return noted;
      }),
      awaitBundle: this.record('awaitBundle', ({ cluster, peer }) => {
        const { bundle, trustDomain } = this.facts(peer);
        this.change(cluster, { storedBundles: { ...this.facts(cluster).storedBundles, [trustDomain]: bundle } });
        return { changed: false };
      }),
      removeRelationship: this.record('removeRelationship', () => noted),
      observe: this.record('observe', () => ({ federatedEntries: {} })),
      deployProbe: this.record('deployProbe', ({ cluster }) => ({
        address: `${cluster}.test:443`,
        spiffeId: `spiffe://${cluster}.test/p`,
      })),
      runProbe: this.record('runProbe', () => ({ ok: true, evidence: 'seen' })),
      removeProbe: this.record('removeProbe', () => noted),
    };
  }

  private record<K extends Name>(
    name: K,
    effect: (input: Parameters<FederatorActivities[K]>[0]) => Awaited<ReturnType<FederatorActivities[K]>>,
  ): FederatorActivities[K] {
    const activity = async (
      input: Parameters<FederatorActivities[K]>[0],
    ): Promise<Awaited<ReturnType<FederatorActivities[K]>>> => {
      const { activityId: id, attempt } = Context.current().info;
      const call: Call = { name, id, attempt, cluster: 'cluster' in input ? input.cluster : '' };
      await this.interfere(call);
      this.calls.push(call);
      return effect(input);
    };
    return activity as FederatorActivities[K];
  }
}

/** Makes a cluster look as setupPair leaves it. */
export function federate(recorded: RecordedActivities, cluster: string, peer: string, federation: string): void {
  const facts = recorded.facts(cluster);
  const endpointUrl = `https://federation.${cluster}.test`;
  const peerUrl = `https://federation.${peer}.test`;
  const endpointSpiffeId = `spiffe://${peer}.test/spire/server`;
  recorded.change(cluster, {
    endpointUrl,
    federation,
    endpointObjects: exposureStrategy('route')
      .objects(exposureContext(facts))
      .map((object) => owned(object, federation)),
    serverConf: {
      trustDomain: facts.trustDomain,
      bundleEndpoint: { address: '0.0.0.0', port: 8443, refreshHint: '300s' },
      federatesWith: {
        [`${peer}.test`]: { bundleEndpointUrl: peerUrl, profile: { type: 'https_spiffe', endpointSpiffeId } },
      },
    },
    statefulSet: { portDeclared: true, portAdded: true, federationHash: 'hash' },
    relationships: [wantedRelationship(facts, recorded.facts(peer), peerUrl, federation)],
    storedBundles: { [`${peer}.test`]: recorded.facts(peer).bundle },
  });
}
