import { Context } from '@temporalio/activity';
import type { FederatorActivities } from '../../src/contract/activities.js';
import type { ClusterFacts, IdentityFacts } from '../../src/contract/facts.js';
import type { ClusterReading, EdgeRefresh } from '../../src/contract/health.js';
import type { FollowRefreshesRequest, RefreshWindow } from '../../src/contract/rotation.js';
import type { NotifyRequest } from '../../src/contract/scheduledHealth.js';
import type { KubernetesObject } from '../../src/contract/kubernetes.js';
import { candidateOf } from '../../src/contract/names.js';
import { readIdentity } from '../../src/federation/identity.js';
import { federatedClusters, freshCluster } from './freshCluster.js';

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
  /** Trust domains whose relationship was removed, by cluster. */
  readonly removed: Record<string, string[]> = {};
  /** Clusters of the inventory that are no members. */
  strangers: string[] = [];
  /** Other federations, with their clusters. */
  elsewhere: Record<string, string[]> = {};
  /** Regions of clusters, and of candidates, that have one. */
  regions: Record<string, string> = {};
  regionPatienceMs = 60_000;
  /** The change that runs, as far as the monitor is told. */
  changing: string | undefined;
  /** What repairs were asked to mend, request by request. */
  readonly requested: string[][] = [];
  /** Of what somebody was told. */
  readonly notified: NotifyRequest[] = [];
  /** Why the monitor is paused, as far as a scheduled look is told. */
  paused: string | undefined;
  /** Readings of stored bundles that later ones need not repeat, as they were given, by step. */
  readonly reused: Record<string, string | undefined> = {};
  /** What a followed log tells; by default nothing. */
  refreshes: (request: FollowRefreshesRequest) => RefreshWindow = ({ cluster }) => ({ cluster, polls: [] });
  private readonly clusters = new Map<string, ClusterFacts>();

  constructor(...names: string[]) {
    for (const name of names) this.clusters.set(name, freshCluster(name));
  }

  /** Names of the activities that ran, each time they took effect. */
  get names(): Name[] {
    return this.calls.map(({ name }) => name);
  }

  private get all(): string[] {
    return [...this.clusters.keys()];
  }

  private get reachable(): string[] {
    return this.all.filter((cluster) => !this.unreachable.includes(cluster));
  }

  /** One more cluster, as it is before a change. */
  add(cluster: string): void {
    this.clusters.set(cluster, freshCluster(cluster));
  }

  facts(cluster: string): ClusterFacts {
    const facts = this.clusters.get(candidateOf(cluster) ?? cluster);
    if (facts === undefined) throw new Error(`there is no cluster ${cluster}`);
    return facts;
  }

  change(cluster: string, change: Partial<ClusterFacts>): void {
    this.clusters.set(cluster, { ...this.facts(cluster), ...change });
  }

  /** What a round of the monitor reads of a cluster; to be replaced by what a test wants it to see. */
  reading = (cluster: string): ClusterReading => {
    const facts = this.facts(cluster);
    const fingerprint = ({ keyIds }: { keyIds: string[] }) => keyIds.join();
    return {
      cluster,
      readAt: Date.now(),
      serverDown: false,
      server: {
        trustDomain: facts.trustDomain,
        ownFingerprint: fingerprint(facts.bundle),
        storedDigest: JSON.stringify(facts.storedBundles),
        stored: Object.fromEntries(
          Object.entries(facts.storedBundles).map(([trustDomain, bundle]) => [
            trustDomain,
            { fingerprint: fingerprint(bundle), refreshHintSeconds: 300 },
          ]),
        ),
        pollErrors: {},
        silent: {},
        polls: 1,
        startedAt: 1,
        configDigest: JSON.stringify([facts.relationships, facts.serverConf, facts.endpointObjects]),
        refreshHintSeconds: 300,
        agents: 1,
      },
    };
  };

  /** What comes of a fetch on demand. */
  refreshed = (cluster: string, trustDomain: string): EdgeRefresh => {
    const stored = this.facts(cluster).storedBundles[trustDomain]?.keyIds.join();
    return {
      at: Date.now(),
      ok: false,
      cause: 'unknownAuthority',
      message: 'certificate signed by unknown authority',
      ...(stored === undefined ? {} : { stored }),
    };
  };

  /** The activities, as a worker wants them. */
  get activities(): FederatorActivities {
    const noted = { changed: true };
    return {
      readFacts: this.record('readFacts', ({ cluster, storedReading }) => {
        this.reused[Context.current().info.activityId] = storedReading;
        if (this.clusters.has(candidateOf(cluster) ?? cluster)) return { facts: this.facts(cluster), problems: [] };
        return { problems: [{ cluster, type: 'ClusterUnreachable', message: `${cluster}: it is nowhere.` }] };
      }),
      readIdentities: this.record('readIdentities', ({ cluster }) => ({
        identities: this.facts(cluster).identities,
        problems: [],
      })),
      findMembers: this.record('findMembers', ({ clusters = this.all }) => ({
        members: this.reachable.filter((cluster) => clusters.includes(cluster) && !this.strangers.includes(cluster)),
        others: this.reachable.filter((cluster) => clusters.includes(cluster) && this.strangers.includes(cluster)),
        federations: this.elsewhere,
        unknown: this.unreachable
          .filter((cluster) => clusters.includes(cluster))
          .map((cluster) => ({
            cluster,
            type: 'ClusterUnreachable' as const,
            message: `${cluster}: its API server cannot be reached.`,
          })),
      })),
      // The first of every workflow, and no step of what it does.
      readRegions: () =>
        Promise.resolve({
          regions: { ...Object.fromEntries(this.all.map((cluster) => [cluster, null])), ...this.regions },
          patienceMs: this.regionPatienceMs,
        }),
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
      configureServer: this.record('configureServer', ({ cluster, wanted }) => {
        const { address, port, refreshHintSeconds } = wanted.bundleEndpoint;
        this.change(cluster, {
          serverConf: {
            trustDomain: `${cluster}.test`,
            bundleEndpoint: { address, port, refreshHint: `${refreshHintSeconds}s` },
            federatesWith: wanted.federatesWith,
          },
          serverConfRecorded: true,
          recordedPeers: Object.keys(wanted.federatesWith),
          statefulSet: { portDeclared: false, portAdded: false },
        });
        return noted;
      }),
      rolloutServer: this.record('rolloutServer', ({ cluster }) => {
        const { statefulSet, serverConf } = this.facts(cluster);
        const settings = JSON.stringify(serverConf);
        if (statefulSet.federationHash === 'hash' || statefulSet.federationHash === settings) return { changed: false };
        this.change(cluster, { statefulSet: { portDeclared: true, portAdded: true, federationHash: settings } });
        return noted;
      }),
      restoreServer: this.record('restoreServer', () => noted),
      removeFederationFromServer: this.record('removeFederationFromServer', () => noted),
      readBundle: this.record('readBundle', ({ cluster }) => ({
        trustDomain: `${cluster}.test`,
        fingerprint: `SHA256:${cluster}`,
        keyIds: [`${cluster}-key`],
        bundle: '{"keys":[]}',
      })),
      applyRelationships: this.record('applyRelationships', ({ cluster, relationships }) => {
        const made = relationships.map(({ relationship }) => relationship);
        const others = this.facts(cluster).relationships.filter(
          (each) => !made.some(({ trustDomain }) => trustDomain === each.trustDomain),
        );
        this.change(cluster, { relationships: [...others, ...made] });
        return noted;
      }),
      awaitBundles: this.record('awaitBundles', ({ cluster, peers }) => {
        const arrived = peers.map(({ cluster: peer }) => this.facts(peer));
        const storedBundles = {
          ...this.facts(cluster).storedBundles,
          ...Object.fromEntries(arrived.map(({ trustDomain, bundle }) => [trustDomain, bundle])),
        };
        this.change(cluster, { storedBundles });
        return { changed: false, storedReading: `of ${cluster}` };
      }),
      awaitRefreshes: this.record('awaitRefreshes', () => ({ changed: false })),
      removeRelationships: this.record('removeRelationships', ({ cluster, relationships }) => {
        this.removed[cluster] = relationships.map(({ trustDomain }) => trustDomain);
        return noted;
      }),
      deleteBundles: this.record('deleteBundles', () => noted),
      applyPolicies: this.record('applyPolicies', ({ cluster, apply, remove }) => {
        const kept = this.facts(cluster).identities.filter(
          ({ name }) => !remove.includes(name) && !apply.some(({ metadata }) => metadata.name === name),
        );
        this.change(cluster, { identities: [...kept, ...apply.map(appliedIdentity)] });
        return noted;
      }),
      awaitPolicies: this.record('awaitPolicies', () => ({ changed: false })),
      forgetUndo: this.record('forgetUndo', () => noted),
      adoptObjects: this.record('adoptObjects', () => noted),
      promoteCandidate: this.record('promoteCandidate', () => noted),
      discardCandidate: this.record('discardCandidate', () => noted),
      forgetCluster: this.record('forgetCluster', () => noted),
      observe: this.record('observe', () => ({ federatedEntries: {} })),
      readCluster: this.record('readCluster', ({ cluster }) => this.reading(cluster)),
      refreshEdges: this.record('refreshEdges', ({ cluster, trustDomains }) =>
        Object.fromEntries(trustDomains.map((trustDomain) => [trustDomain, this.refreshed(cluster, trustDomain)])),
      ),
      restoreGoodServerConf: this.record('restoreGoodServerConf', () => noted),
      keepGoodServerConf: this.record('keepGoodServerConf', () => noted),
      restartServer: this.record('restartServer', () => noted),
      followRefreshes: this.record('followRefreshes', (request) => this.refreshes(request)),
      prepareAuthority: this.record('prepareAuthority', () => ({
        authorityId: 'next',
        activeId: 'old',
        keyId: 'next-key',
        activeKeyId: 'old-key',
      })),
      awaitAuthority: this.record('awaitAuthority', () => ({ at: Date.now(), forced: 0 })),
      activateAuthority: this.record('activateAuthority', () => noted),
      taintAuthority: this.record('taintAuthority', () => noted),
      revokeAuthority: this.record('revokeAuthority', () => noted),
      engineState: this.record('engineState', () => (this.changing === undefined ? {} : { change: this.changing })),
      monitorPause: this.record('monitorPause', () => (this.paused === undefined ? {} : { paused: this.paused })),
      awaitNoRepair: this.record('awaitNoRepair', () => ({ changed: false })),
      watchOver: this.record('watchOver', () => ({ changed: false })),
      stopWatching: this.record('stopWatching', () => ({ changed: false })),
      requestRepair: this.record('requestRepair', ({ findings }) => {
        this.requested.push(findings.map(({ check, scope }) => `${check}@${scope}`));
        return { changed: false };
      }),
      readWorkload: this.record('readWorkload', ({ cluster }) => ({
        cluster,
        trustDomain: `${cluster}.test`,
        authorities: [],
        className: 'spire',
        ignoreNamespaces: [],
        storedBundles: {},
        pods: [],
        morePods: 0,
        entries: [],
        agents: [],
        identities: [],
      })),
      readAuthorities: this.record('readAuthorities', ({ cluster }) => ({
        cluster,
        trustDomain: `${cluster}.test`,
        authorities: [],
      })),
      deployProbe: this.record('deployProbe', ({ cluster }) => ({
        address: `${cluster}.test:443`,
        spiffeId: `spiffe://${cluster}.test/p`,
      })),
      runProbe: this.record('runProbe', () => ({ ok: true, evidence: 'seen' })),
      removeProbe: this.record('removeProbe', () => noted),
      dumpCluster: this.record('dumpCluster', () => ({ missing: [] })),
      notify: this.record('notify', (request) => {
        this.notified.push(request);
        return { sent: true, note: 'noted' };
      }),
      dumpEngine: this.record('dumpEngine', () => ({ missing: [] })),
    };
  }

  private record<K extends Exclude<Name, 'readRegions'>>(
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

function appliedIdentity(object: KubernetesObject): IdentityFacts {
  return {
    ...readIdentity(object),
    createdAt: '2026-01-01T00:00:00Z',
    uid: 'uid',
    stats: { podsSelected: 1, entriesToSet: 1 },
  };
}

/** Makes clusters look as a setup with static relationships leaves them. */
export function federate(recorded: RecordedActivities, federation: string, ...clusters: string[]): void {
  for (const facts of federatedClusters(federation, clusters)) recorded.change(facts.cluster, facts);
}
