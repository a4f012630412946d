import type { Problem } from './facts.js';
import type {
  EdgeCause,
  EdgeRefresh,
  EdgeVerdict,
  FederationVerdict,
  Finding,
  OpenFinding,
  RepairCount,
  RepairRecord,
  Stopped,
  StoredBundle,
} from './health.js';
import type { Policy } from './policy.js';

/** What the engine may do by itself. */
export interface RepairPolicy {
  /** Whether anything is repaired at all, or only found. */
  automatic: boolean;
  /** A peer's CA that changed outside a rotation that its peers saw: take it over, or have somebody approve that first. */
  caChange: 'automatic' | 'approval';
}

export const DEFAULT_REPAIR_POLICY: RepairPolicy = { automatic: true, caChange: 'automatic' };

/** What a monitor watches over. */
export interface MonitorSettings {
  federation: string;
  clusters: string[];
  /** Of the bundles; SPIRE polls, and the monitor looks, at a quarter of it. */
  refreshHintSeconds: number;
  /** Cluster that all others trust and that trusts all others; absent in a mesh. */
  hub?: string | undefined;
  /** Seconds between two rounds; absent: as often as SPIRE polls. */
  intervalSeconds?: number | undefined;
  repair: RepairPolicy;
  /** Nothing is repaired that is not approved, whatever `repair` says, until a change says otherwise. */
  observeOnly?: boolean | undefined;
  /** Rounds after which one run hands over to the next; absent: when Temporal suggests it. */
  roundsPerRun?: number | undefined;
}

/** Other members or settings; what is not said of repairs or of the rounds stays as it is. */
export type MembershipChange = Omit<MonitorSettings, 'repair'> & {
  repair?: RepairPolicy | undefined;
  /** Those that the federation has from now on; absent: the next look tells. */
  policies?: Policy[] | undefined;
};

/** `state` is what one run of the monitor hands to the next. */
export type MonitorInput = MonitorSettings & { state?: MonitorState };

export interface ClusterState {
  trustDomain?: string;
  ownFingerprint?: string;
  endpointUrl?: string;
  readAt?: number;
  failures: number;
  downSince?: number;
  /** When it was first read again after its SPIRE server had been away. */
  backAt?: number;
  /** Start of its SPIRE server, by its own clock. */
  startedAt?: number;
  stopped?: Stopped;
  problem?: string;
  /** In how many readings in a row it could not be read for a reason that time does not mend. */
  unreadable?: number;
  endpointProblem?: string;
  endpointFailsSince?: number;
  /** Digest of the configuration when it was last found to be as it must be. */
  goodConfig?: string;
  /** Start of the SPIRE server whose log showed polls. */
  pollsLoggedSince?: number;
  caRotatesAt?: string;
  caExpiresAt?: string;
  agents?: number;
  /** By how much its clock is ahead of the monitor's; absent where they agree. */
  clockAheadMs?: number;
}

/** What has to be remembered of an edge that is not simply fresh. */
export interface EdgeState {
  differsSince?: number;
  freshAt?: number;
  silentSince?: number;
  /** Since when no fetch on demand got through. */
  fetchFailsSince?: number;
  /** When one last got through. */
  gotThroughAt?: number;
  /** The newest fetch on demand. */
  refresh?: EdgeRefresh;
  /** What it was judged to be; absent: nothing was read yet. */
  judgement?: EdgeJudgement;
}

/** How one edge stands. */
export interface EdgeJudgement {
  verdict: EdgeVerdict;
  cause?: EdgeCause;
  evidence: string;
  /** It looks bad, but only a fetch on demand can tell. */
  suspicious: boolean;
  /** Such a fetch failed, which counts only if one fails again this many milliseconds after it. */
  retryInMs?: number;
}

/** How often in a row a finding was worked on, and when last, in milliseconds since the Unix epoch. */
export interface RepairAttempts {
  count: number;
  at: number;
  /** The pause after it is not over. */
  cooling: boolean;
}

export interface MonitorState {
  since: number;
  rounds: number;
  clusters: Record<string, ClusterState>;
  /** By the edge's name; edges that were fresh in the last round are not listed. */
  edges: Record<string, EdgeState>;
  /** Too many edges were not fresh for all of them to be listed. */
  edgesLeftOut?: boolean;
  findings: OpenFinding[];
  /** By the finding's id. */
  attempts: Record<string, RepairAttempts>;
  /** The rounds in which a finding came back, by its id. */
  returns?: Record<string, number[]>;
  approved: string[];
  repairs: RepairRecord[];
  /** Absent in what a version handed over that did not count. */
  repairCounts?: RepairCount[];
  paused?: { reason: string; until?: number };
  lastRoundAt?: number;
  /** Those that the federation is known to have. */
  policies?: Policy[];
  /** The verdict that somebody was told last. */
  told?: FederationVerdict;
  /** Of the findings, the IDs of those that a thorough look came to. */
  configured?: string[];
  /** Clusters that can be read, and of which the last thorough look could not be made. */
  refused?: string[];
  /** Since when thorough looks in a row have found what is wrong with ClusterSPIFFEIDs, by the finding's ID. */
  identities?: Record<string, number>;
  /** What keeps clusters from being read. */
  problems?: Problem[];
  /** What SPIRE servers that end again and again said last, by cluster. */
  crashLoops?: Record<string, string>;
  /** Stored bundles by cluster; of a cluster that is not listed they are read again. */
  bundles?: Record<string, CarriedBundles>;
}

/** The bundles that a cluster stores, as what is handed from one run to the next. */
export interface CarriedBundles {
  /** Of what was read of them, where that is what is stored still as far as is known. */
  digest?: string;
  /** By trust domain, where not just the peer's keys with the federation's refresh hint are stored; null: none are. */
  differing?: Record<string, StoredBundle | null>;
}

export const MEMBERSHIP_SIGNAL = 'membershipChanged';
export const REPAIRED_SIGNAL = 'repaired';
export const STOP_SIGNAL = 'stop';
export const CHECK_UPDATE = 'checkNow';
export const PAUSE_UPDATE = 'pause';
export const RESUME_UPDATE = 'resume';
export const APPROVE_UPDATE = 'approve';
export const HEALTH_QUERY = 'health';

export interface PauseRequest {
  reason: string;
  /** After which it goes on by itself; absent: until it is resumed. */
  forSeconds?: number | undefined;
}

/** A member as the monitor knows it, also while it cannot be asked. */
export interface KnownMember {
  cluster: string;
  trustDomain?: string;
  endpointUrl?: string;
}

export interface MemberToMend extends KnownMember {
  /** Why it could not be read just now: nobody waits for it to answer. */
  unread?: Problem;
}

/** What a repair is asked to mend. */
export interface RepairInput {
  federation: string;
  members: MemberToMend[];
  findings: Finding[];
  /** As the monitor was told; absent: the members tell. */
  topology?: 'mesh' | 'hub';
  hub?: string;
  /** As the monitor was told: it counts where no member has one any more, or as many have another. */
  refreshHintSeconds?: number;
  /** Those that the federation is known to have. */
  policies?: Policy[];
}

/** What the repair workflow is signalled with. */
export const REPAIR_SIGNAL = 'repair';
