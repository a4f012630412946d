import type { ControlType } from './control.js';
import type { FactsResult, IdentitiesResult, Problem, RelationshipFacts } from './facts.js';
import type { ClusterReading, EdgeRefresh } from './health.js';
import type { MembershipChange, RepairInput } from './monitor.js';
import type { Exposure } from './inventory.js';
import type { KubernetesObject } from './kubernetes.js';
import type {
  AuthorityRequest,
  AwaitAuthorityRequest,
  FollowRefreshesRequest,
  HeldAuthority,
  PreparedAuthority,
  RefreshWindow,
} from './rotation.js';
import type { NotifyOutcome, NotifyRequest } from './scheduledHealth.js';
import type { WantedFederation } from './serverConf.js';
import type { DumpClusterRequest, DumpedPart, DumpEngineRequest } from './sysdump.js';
import type { TrustDomainAuthorities, WorkloadFacts, WorkloadReference } from './workload.js';

/** Outcome of a step that may have found everything in place. */
export interface StepOutcome {
  changed: boolean;
  /** What an operator should read beside the step, e.g. "8 of 8 keys". */
  note?: string;
  /** What an undo could not put back as it was, for good and not for want of trying. */
  stays?: string;
}

/** Of a wait for bundles. */
export interface ArrivalOutcome extends StepOutcome {
  /** Names the reading that saw the bundles, or a later one; see ReadFactsRequest. */
  storedReading?: string;
}

/** An edit of server.conf takes effect when the pod that runs with the old one is replaced. */
export interface EditOutcome extends StepOutcome {
  /** UID of SPIRE server's pod at that time, where there was one and the edit changed anything. */
  pod?: string;
}

export interface ClusterRequest {
  cluster: string;
  federation: string;
}

/** What the engine's account has to be allowed, besides reading. */
export type PermissionUse = 'change' | 'probe' | 'monitor';

export interface ReadFactsRequest extends ClusterRequest {
  /**
   * Also asked, before a change: whether the engine's account may do all that these take. The own bundle is then one that
   * was just read, or was read a while ago and is proven by its endpoint now. Absent: it is not asked.
   */
  permissions?: PermissionUse[];
  /**
   * The own bundle (since it was read or proven), the kinds that the cluster offers and what storedReading saw may be as
   * old as this, in milliseconds. Absent: as they are now.
   */
  maxAgeMs?: number;
  /** What that reading saw stored will do, where the worker that made it is asked. Absent: what is stored now. */
  storedReading?: string;
}

export interface ApplyObjectRequest extends ClusterRequest {
  object: KubernetesObject;
}

export interface RestoreObjectRequest extends ClusterRequest {
  reference: { apiVersion: string; kind: string; metadata: { name: string; namespace?: string } };
  /** The object as it was; undefined when it was not there. */
  before?: KubernetesObject;
}

export interface EndpointUrlRequest extends ClusterRequest {
  timeoutMs: number;
}

/** Something is done to the configuration of a SPIRE server, in the way in which that is done on its cluster. */
export interface ServerRequest extends ClusterRequest {
  control: ControlType;
}

export interface ConfigureServerRequest extends ServerRequest {
  /** The change's run; the undo finds its own edit by it. Absent where nothing will be undone. */
  changeId?: string;
  wanted: WantedFederation;
}

/** What the StatefulSet's template was, as far as the engine changes it. */
export interface TemplateBefore {
  portDeclared: boolean;
  portAdded: boolean;
  federationHash?: string;
  /** The hash is that of an adoption, which the template itself does not have. */
  adopted?: true;
  /** The federation of these settings. */
  federation?: string;
}

export interface RolloutRequest extends ServerRequest {
  wanted: WantedFederation;
  /** UID of a pod that runs with an older server.conf: it is replaced, also where the template tells no difference. */
  outdatedPod?: string | undefined;
  /** Under an operator: hash of the configuration that must be replaced; absent where no restart is expected. */
  replaces?: string;
  timeoutMs: number;
}

export interface RestoreServerRequest extends ServerRequest {
  changeId: string;
  /** What cannot be put back, if anything was changed: a sentence. */
  stays?: string;
  port: number;
  template: TemplateBefore;
  timeoutMs: number;
}

export interface ReadBundleRequest extends ClusterRequest {
  /** Absent: what the endpoint serves is not compared. */
  endpointUrl?: string;
  refreshHintSeconds: number;
  timeoutMs: number;
}

/** A cluster's own trust bundle, proven to be what its endpoint serves. Public keys only. */
export interface ReadBundleOutcome {
  trustDomain: string;
  fingerprint: string;
  /** Identities of its keys, as in BundleFacts. */
  keyIds: string[];
  /** SPIFFE bundle (JWKS) with the refresh hint added. */
  bundle: string;
}

/** Relationships by which `cluster` comes to trust its peers, each with the peer's bundle, which has its hint. */
export interface ApplyRelationshipsRequest extends ClusterRequest {
  relationships: { relationship: RelationshipFacts; bundle: string }[];
}

export interface AwaitBundlesRequest extends ClusterRequest {
  peers: {
    /** Whose Kubernetes API is asked again when other keys arrived than expected. */
    cluster: string;
    /** For the case that the relationship has to be made anew. */
    relationship: RelationshipFacts;
    /** The peer's keys as they were read just before. */
    keyIds: string[];
    /** SPIRE server is known to have taken up the relationship before: there is nothing to be waited for. */
    managed?: boolean;
    /** Its bundle, where these keys were read again because another region's workers alone can ask it. */
    bundle?: string;
  }[];
  relationships: 'static' | 'dynamic';
  /** SPIRE controller manager restarted with the server meanwhile, and may not have acted on them. */
  appliedBeforeRestart?: boolean;
  refreshHintSeconds: number;
  timeoutMs: number;
  /** How long a forced refresh may fail for want of a usable stored bundle before the relationship is made anew. */
  rebootstrapAfterMs?: number;
}

export interface AwaitRefreshesRequest extends ClusterRequest {
  trustDomains: string[];
  timeoutMs: number;
}

export interface RemovedRelationship {
  trustDomain: string;
  name: string;
  /** The relationship as it was; undefined when there was none. */
  before?: RelationshipFacts;
  /** Whether the peer's bundle was stored before, and so stays. */
  keepBundle: boolean;
}

export interface RemoveRelationshipsRequest extends ClusterRequest {
  relationships: RemovedRelationship[];
  /** Of the SPIRE server, beside whose settings is noted which bundles go; absent: nobody goes on from what is left. */
  control?: ControlType;
  timeoutMs: number;
}

export interface DeleteBundlesRequest extends ClusterRequest {
  trustDomains: string[];
}

export interface ApplyPoliciesRequest extends ClusterRequest {
  /** ClusterSPIFFEIDs as they should be. */
  apply: KubernetesObject[];
  /** Names of ClusterSPIFFEIDs that should not be there; others' are left alone. */
  remove: string[];
}

export interface RemoveFederationRequest extends ServerRequest {
  timeoutMs: number;
}

export interface ForgetUndoRequest extends ServerRequest {
  changeId: string;
}

/** Objects that others made, to be marked as the engine's; nothing but their metadata changes. */
export interface AdoptRequest extends ServerRequest {
  objects: { reference: RestoreObjectRequest['reference']; annotations?: Record<string, string> }[];
  /** Members whose entries in federates_with become the engine's. */
  trustDomains: string[];
  /** The settings that SPIRE server runs with. */
  wanted: WantedFederation;
}

export interface AwaitPoliciesRequest extends ClusterRequest {
  /** ClusterSPIFFEIDs whose outcome SPIRE controller manager must have reported. */
  names: string[];
  /** No registration entry may federate with these any more. */
  withdrawn: string[];
  timeoutMs: number;
}

export interface ObserveRequest extends ClusterRequest {
  endpointUrl?: string;
  /** Trust domains of the other members. */
  peers: string[];
}

/** What can only be seen by asking SPIRE server and its endpoint. */
export interface Observation {
  /** Absent when the endpoint serves, authenticated, exactly the server's own keys; else what is wrong. */
  endpointProblem?: string;
  /** Registration entries that federate with each peer. */
  federatedEntries: Record<string, number>;
}

export type ProbeRole = 'federated' | 'unfederated';

export interface DeployProbeRequest extends ClusterRequest {
  className: string;
  /** Absent where nobody can reach the test workload from outside. */
  exposure?: Exposure;
  trustDomain: string;
  /** Trust domains whose bundles are stored: the federated test workload federates with them. */
  federatesWith: string[];
  /** SPIFFE ID that the federated test workload takes on, in place of one of its own. */
  spiffeId?: string;
  timeoutMs: number;
}

export interface DeployedProbe {
  /** host:port under which the federated test workload is reached from other clusters, if it is exposed. */
  address?: string;
  spiffeId: string;
}

export interface RunProbeRequest extends ClusterRequest {
  /** Which test workload dials. */
  role: ProbeRole;
  /** What must come of it: an mTLS handshake, or its refusal for want of trust. */
  expect: 'handshake' | 'refusal';
  /** Whether the server may be any, and not only a test workload. */
  anyServer?: boolean;
  address: string;
  expectSpiffeId: string;
  timeoutMs: number;
}

export interface ProbeOutcome {
  ok: boolean;
  /** What was seen: the handshake's peer and time, or why there was none. */
  evidence: string;
}

export interface ReadWorkloadRequest {
  cluster: string;
  workload: WorkloadReference;
  /** Also look into the pods for what they hold, where that is allowed. */
  lookInside: boolean;
}

export interface FindMembersRequest {
  federation: string;
  /** Which clusters to ask; absent: all of the inventory. */
  clusters?: string[];
}

/** Which workers the work on each cluster is for. */
export interface ClusterRegions {
  /** By name, those of candidates among them (`candidateName`); null: any worker that serves no region. */
  regions: Record<string, string | null>;
  /** How long an activity waits for a worker of its region. */
  patienceMs: number;
}

/** Which clusters of the inventory belong to a federation, as far as they could be asked. */
export interface FoundMembers {
  members: string[];
  /** Clusters of the inventory that belong to no federation or to another. */
  others: string[];
  /** The other federations that clusters of the inventory belong to, with these. */
  federations: Record<string, string[]>;
  /** Clusters that could not be asked; they may be members. */
  unknown: Problem[];
}

export interface ReadClusterRequest extends ClusterRequest {
  /** How often SPIRE polls, as far as it is known; the log is read as far back as that takes. */
  pollIntervalMs: number;
  /** Digest of the stored bundles of the reading before: what did not change is not sent again. */
  knownStored?: string;
  /** Ask for the number of agents as well, which costs one more command. */
  withAgents: boolean;
  /** Read the log as far back as this, in seconds, and tell of every peer when it was polled last. */
  logSeconds?: number;
  timeoutMs: number;
}

export interface RefreshEdgesRequest extends ClusterRequest {
  /** Whose bundles SPIRE server is to fetch now. */
  trustDomains: string[];
  timeoutMs: number;
}

/** Whom to watch over, and how; what is absent stays as it is, or is the default. */
export type WatchRequest = MembershipChange & {
  /** Start a monitor where none runs. */
  start: boolean;
  /** `observeOnly` is for one that is started; one that runs goes on as it did. */
  goOn?: boolean;
};

/** What runs on the engine's own side: its workflows. */
export interface EngineState {
  /** Type of the change that runs, if one does. */
  change?: string;
}

/** Why a federation's monitor is paused, if one runs and is. */
export interface MonitorPause {
  paused?: string;
}

/** Everything the workflows ask of the world. Implemented by createActivities. */
export interface FederatorActivities {
  readFacts(request: ReadFactsRequest): Promise<FactsResult>;
  readIdentities(request: { cluster: string }): Promise<IdentitiesResult>;
  findMembers(request: FindMembersRequest): Promise<FoundMembers>;
  readRegions(): Promise<ClusterRegions>;
  applyObject(request: ApplyObjectRequest): Promise<StepOutcome>;
  restoreObject(request: RestoreObjectRequest): Promise<StepOutcome>;
  awaitEndpointUrl(request: EndpointUrlRequest): Promise<string>;
  configureServer(request: ConfigureServerRequest): Promise<EditOutcome>;
  rolloutServer(request: RolloutRequest): Promise<StepOutcome>;
  restoreServer(request: RestoreServerRequest): Promise<StepOutcome>;
  removeFederationFromServer(request: RemoveFederationRequest): Promise<StepOutcome>;
  readBundle(request: ReadBundleRequest): Promise<ReadBundleOutcome>;
  applyRelationships(request: ApplyRelationshipsRequest): Promise<StepOutcome>;
  awaitBundles(request: AwaitBundlesRequest): Promise<ArrivalOutcome>;
  awaitRefreshes(request: AwaitRefreshesRequest): Promise<StepOutcome>;
  removeRelationships(request: RemoveRelationshipsRequest): Promise<StepOutcome>;
  deleteBundles(request: DeleteBundlesRequest): Promise<StepOutcome>;
  applyPolicies(request: ApplyPoliciesRequest): Promise<StepOutcome>;
  awaitPolicies(request: AwaitPoliciesRequest): Promise<StepOutcome>;
  forgetUndo(request: ForgetUndoRequest): Promise<StepOutcome>;
  adoptObjects(request: AdoptRequest): Promise<StepOutcome>;
  observe(request: ObserveRequest): Promise<Observation>;
  readCluster(request: ReadClusterRequest): Promise<ClusterReading>;
  refreshEdges(request: RefreshEdgesRequest): Promise<Record<string, EdgeRefresh>>;
  restoreGoodServerConf(request: ClusterRequest & { timeoutMs: number }): Promise<StepOutcome>;
  keepGoodServerConf(request: ClusterRequest): Promise<StepOutcome>;
  restartServer(request: ClusterRequest & { timeoutMs: number }): Promise<StepOutcome>;
  followRefreshes(request: FollowRefreshesRequest): Promise<RefreshWindow>;
  prepareAuthority(request: ClusterRequest): Promise<PreparedAuthority>;
  awaitAuthority(request: AwaitAuthorityRequest): Promise<HeldAuthority>;
  activateAuthority(request: AuthorityRequest): Promise<StepOutcome>;
  taintAuthority(request: AuthorityRequest): Promise<StepOutcome>;
  revokeAuthority(request: AuthorityRequest): Promise<StepOutcome>;
  engineState(request: { federation: string }): Promise<EngineState>;
  monitorPause(request: { federation: string }): Promise<MonitorPause>;
  awaitNoRepair(request: { federation: string; timeoutMs: number }): Promise<StepOutcome>;
  watchOver(request: WatchRequest): Promise<StepOutcome>;
  stopWatching(request: { federation: string }): Promise<StepOutcome>;
  requestRepair(request: RepairInput): Promise<StepOutcome>;
  promoteCandidate(request: { cluster: string }): Promise<StepOutcome>;
  discardCandidate(request: { cluster: string }): Promise<StepOutcome>;
  forgetCluster(request: { cluster: string }): Promise<StepOutcome>;
  readWorkload(request: ReadWorkloadRequest): Promise<WorkloadFacts>;
  readAuthorities(request: { cluster: string }): Promise<TrustDomainAuthorities>;
  deployProbe(request: DeployProbeRequest): Promise<DeployedProbe>;
  runProbe(request: RunProbeRequest): Promise<ProbeOutcome>;
  removeProbe(request: ClusterRequest & { timeoutMs: number }): Promise<StepOutcome>;
  dumpCluster(request: DumpClusterRequest): Promise<DumpedPart>;
  notify(request: NotifyRequest): Promise<NotifyOutcome>;
  dumpEngine(request: DumpEngineRequest): Promise<DumpedPart>;
}
