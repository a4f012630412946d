import type { FederatorErrorType } from './errors.js';

/** What is known of a directed edge: does the trusting cluster hold the trusted one's current trust bundle? */
export type EdgeVerdict =
  | 'fresh'
  /** Keys differ, for no longer than the next regular poll takes. */
  | 'lagging'
  /** Keys differ for longer than that. */
  | 'stale'
  /** It cannot become fresh by itself; the cause is known. */
  | 'broken'
  /** A cluster cannot be asked, which is not the edge's fault. */
  | 'unknown';

export type EdgeCause =
  /** No bundle of the peer is stored, so there is nothing to authenticate it by. */
  | 'neverBootstrapped'
  /** The stored bundle lost the peer's CA: SPIRE never mends that by itself. */
  | 'unknownAuthority'
  | 'endpointUnreachable'
  | 'wrongProfile'
  /** With https_web: the system of the trusting SPIRE server does not believe the endpoint's certificate. */
  | 'webCertificate'
  /** The endpoint's certificate has expired, or is not valid yet, by the trusting SPIRE server's clock. */
  | 'certificateTime'
  | 'relationshipMissing'
  /** SPIRE server of one side does not run. */
  | 'serverDown'
  /** SPIRE server does not poll this peer any more, though a fetch on demand works. */
  | 'pollerStalled';

/** What SPIRE server's log says of its polls of one peer. */
export interface PollError {
  /** Milliseconds since the Unix epoch. */
  at: number;
  cause: EdgeCause;
  /** SPIRE's own words. */
  message: string;
}

/** What came of a fetch that the engine made a SPIRE server do. */
export interface EdgeRefresh {
  /** When it ended. */
  at: number;
  /** How long it took, in milliseconds. */
  tookMs?: number;
  ok: boolean;
  cause?: EdgeCause;
  message?: string;
  /** Fingerprint of what is stored afterwards. */
  stored?: string;
}

/** Another cluster's bundle as a SPIRE server stores it. */
export interface StoredBundle {
  fingerprint: string;
  /** 0 when the bundle came without a hint: SPIRE then polls at a fortieth of the CA's lifetime. */
  refreshHintSeconds: number;
}

/** One look at one cluster, as a round of the monitor takes it. Small: what did not change is said to be so. */
export interface ClusterReading {
  cluster: string;
  /** Milliseconds since the Unix epoch, by the worker's clock. */
  readAt: number;
  /** Why nothing, or not everything, could be read. */
  problem?: { type: FederatorErrorType; message: string };
  /** Whether the problem is that SPIRE server does not run, while its cluster answers. */
  serverDown: boolean;
  /** SPIRE server ends again and again: what its container said last. */
  crashLoop?: string;
  /** SPIRE server is not meant to run, as its StatefulSet has it: nothing but a person brings it back. */
  stopped?: Stopped;
  server?: ServerReading;
}

/** Why a SPIRE server will not run by itself, and what to type. */
export interface Stopped {
  why: string;
  remedy: string;
}

export interface ServerReading {
  trustDomain: string;
  /** Of its own bundle, over all keys. */
  ownFingerprint: string;
  /** ISO 8601: when the newest CA certificate expires, and when SPIRE will prepare and activate the next one. */
  caExpiresAt?: string;
  caRotatesAt?: string;
  /** Digest of what is stored; the bundles themselves only when it differs from the digest that was known before. */
  storedDigest: string;
  stored?: Record<string, StoredBundle>;
  /** Peers whose newest line in the log is an error. */
  pollErrors: Record<string, PollError>;
  /** Peers without any poll, good or failed, since the last one was due, and when the newest was; 0 when the log shows none. */
  silent: Record<string, number>;
  /** Peers without any poll in the log, which does not reach back to where the last one was due; absent where there are none. */
  untold?: string[];
  /** When each peer was last polled with success, as far back as the log was read; only where that was asked for. */
  lastPolls?: Record<string, number>;
  /** How many successful polls the log shows, of all peers: none may also mean that they are not logged. */
  polls: number;
  /** When the SPIRE server's container was started, by its cluster's clock; 0 when that is not known. */
  startedAt: number;
  /**
   * By how much its cluster's clock is at least ahead of the one that the reading's times go by, negative: behind; absent
   * where they agree.
   */
  clockAheadMs?: number;
  /** What is wrong with its bundle endpoint as the engine itself sees it; absent when it serves its own keys. */
  endpointProblem?: string;
  endpointUrl?: string;
  /** Digest of everything that the engine configures on the cluster. */
  configDigest: string;
  /** By its own server.conf; peers poll at a quarter of it. */
  refreshHintSeconds: number;
  agents?: number;
}

export interface EdgeHealth {
  trusting: string;
  trusted: string;
  verdict: EdgeVerdict;
  cause?: EdgeCause;
  evidence: string;
  storedFingerprint?: string;
  peerFingerprint?: string;
  /** Seconds since the keys were last seen to be equal; absent while they never were. */
  freshnessAgeSeconds?: number;
  lastError?: string;
}

export interface ClusterHealth {
  cluster: string;
  trustDomain?: string;
  server: 'up' | 'down' | 'unknown';
  endpoint: 'ok' | 'failed' | 'unknown';
  evidence?: string;
  caRotatesAt?: string;
  caExpiresAt?: string;
  agents?: number;
  readAt?: number;
}

/** `ok`, or the worst of what is known: `repairing` where the engine is at it, `attention` where a person has to be. */
export type FederationVerdict = 'ok' | 'lagging' | 'unknown' | 'repairing' | 'attention';

export interface FederationHealth {
  federation: string;
  verdict: FederationVerdict;
  clusters: ClusterHealth[];
  /** Every edge, or where there are many, those that are not fresh; `edges` counts them all. */
  edges: EdgeHealth[];
  counts: Record<EdgeVerdict, number>;
  findings: OpenFinding[];
  /** The newest. */
  repairs: RepairRecord[];
  /** All since the monitor was started; absent where a worker answers that is older than this. */
  repairCounts?: RepairCount[];
  rounds: number;
  intervalSeconds: number;
  lastRoundAt?: number;
  paused?: { reason: string; until?: number };
  since: number;
}

/** How little or how much is done about a finding, the least force first. */
export type RepairAction =
  'refresh' | 'restore' | 'recreateRelationship' | 'rebootstrap' | 'restart' | 'restoreServerConf';

/** Something that is wrong, with what it takes to mend it. */
export interface Finding {
  /** Name of the check, as `diagnose` has it. */
  check: string;
  /** A cluster, or an edge "trusting←trusted". */
  scope: string;
  /** Name of somebody else's object that it is about, where the scope may have several. */
  about?: string;
  evidence: string;
  remedy: string;
  /** What the engine would do about it; absent where a person has to. */
  action?: RepairAction;
  /** Why the engine may not do it by itself. */
  needsApproval?: string;
}

export interface OpenFinding extends Finding {
  /** By which it is approved. */
  id: string;
  since: number;
  state: 'found' | 'repairing' | 'approval' | 'escalated' | 'person';
  attempts: number;
}

/** What one repair did. */
export interface RepairRecord {
  findingId: string;
  check: string;
  scope: string;
  cause: string;
  action: RepairAction | 'none';
  evidenceBefore: string;
  evidenceAfter: string;
  outcome: 'healed' | 'failed' | 'passed';
  startedAt: number;
  durationMs: number;
}

/** How many repairs of one cause came to one outcome. */
export interface RepairCount extends Pick<RepairRecord, 'cause' | 'outcome'> {
  count: number;
}

/** Name of a finding: the same thing found again has the same one. */
export function findingId({ check, scope, about }: Pick<Finding, 'check' | 'scope' | 'about'>): string {
  return `${check}@${scope}${about === undefined ? '' : `/${about}`}`;
}
