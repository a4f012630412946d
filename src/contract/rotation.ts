import type { ChangeResult } from './change.js';
import type { FederatorErrorType } from './errors.js';

/** What is asked of rotateWatch. */
export interface RotateWatchInput {
  federation: string;
  /** Ends once every edge was refreshed so often; absent with `forMs` alone. */
  rotations?: number | undefined;
  /** Ends after this at the latest; absent: as long as `rotations` may take. */
  forMs?: number | undefined;
  rotate?: RotateRequest | undefined;
  /** Windows after which one run hands over to the next; absent: when Temporal suggests it. */
  windowsPerRun?: number | undefined;
  /** What one run hands to the next. */
  state?: RotateWatchState;
}

/** A member whose CA is to be rotated by force. */
export interface RotateRequest {
  cluster: string;
  /** Also taint and revoke the CA that was active before. */
  revoke: boolean;
  /** How long the peers may take to hold the next CA. */
  holdTimeoutMs: number;
  /** How long tainted keys may be in use by workloads before they are revoked. */
  settleMs: number;
}

/** An edge whose refreshes are counted, and how often its trusting side polls. */
export interface CountedEdge {
  trusting: string;
  trusted: string;
  /** Trust domain of the trusted side. */
  trustDomain: string;
  expectedMs: number;
}

/** Where in a SPIRE server's log a window ended. */
export interface LogCursor {
  /** The pod whose log it was. */
  podUid: string;
  /** Time of the newest line about a poll, by SPIRE's clock, in milliseconds since the Unix epoch. */
  readTo?: number;
  /** The log ended, so nothing of this pod is left to be read. */
  ended: boolean;
}

/** A poll as the log tells it. */
export interface LoggedPoll {
  at: number;
  trustDomain: string;
  ok: boolean;
  error?: string;
}

export interface FollowRefreshesRequest {
  cluster: string;
  federation: string;
  trustDomains: string[];
  /** Polls before this, by the worker's clock, are not asked for where there is no cursor. */
  since: number;
  cursor?: LogCursor;
  /** How long the log is followed. */
  windowMs: number;
}

/** What the log of one SPIRE server told while it was followed, and what the server held at the end. */
export interface RefreshWindow {
  cluster: string;
  polls: LoggedPoll[];
  cursor?: LogCursor;
  /** When the SPIRE server's container was started. */
  startedAt?: number;
  /** A part of the log that is gone: a pod was replaced while nobody followed it. */
  gap?: { from: number; to: number };
  /** Fingerprints over all keys: of its own bundle, and of those it stores. */
  own?: string;
  stored?: Record<string, string>;
  problem?: string;
}

/** Milliseconds; absent parts: too few refreshes. */
export interface IntervalStatistics {
  count: number;
  minMs?: number;
  medianMs?: number;
  p95Ms?: number;
  maxMs?: number;
}

export interface EdgeRefreshes {
  trusting: string;
  trusted: string;
  /** Successful polls that the log shows. */
  refreshes: number;
  /** Of these, those that came too early for a regular poll: somebody asked for them. */
  onDemand: number;
  failures: number;
  lastError?: string;
  expectedMs: number;
  intervals: IntervalStatistics;
  /** Whether the trusting side holds exactly the trusted side's keys; absent while that is not known. */
  keysEqual?: boolean;
  lastAt?: number;
}

/** How far the watch is; at its end, its report. */
export interface RotateWatchReport {
  federation: string;
  since: number;
  until: number;
  /** How many refreshes per edge were asked for. */
  rotations?: number;
  /** Whether every edge had as many as were asked for, its keys are equal, and the log was read without a gap. */
  complete: boolean;
  state: 'watching' | 'finished';
  /** Over all edges. */
  intervals: IntervalStatistics;
  refreshes: number;
  failures: number;
  edges: EdgeRefreshes[];
  gaps: { cluster: string; from: number; to: number }[];
  problems: Record<string, string>;
  rotation?: RotationProof;
}

/** What was seen of one peer of a rotated member; times are milliseconds since the Unix epoch. */
export interface RotationEdgeProof {
  trusting: string;
  trusted: string;
  /** The next CA was seen in the trusting side's store. */
  heldAt: number;
  /** Fetches by force that it took. */
  forced: number;
  /** First fetch, authenticated by SPIRE, after the next CA was active, with equal keys. */
  freshAfterActivationAt?: number;
  /** The same after the old CA was revoked. */
  freshAfterRevocationAt?: number;
}

export interface RotationProof {
  cluster: string;
  /** As SPIRE names them: the CA's subject key identifier. */
  oldAuthority: string;
  newAuthority: string;
  preparedAt: number;
  activatedAt?: number;
  taintedAt?: number;
  revokedAt?: number;
  edges: RotationEdgeProof[];
}

export interface EdgeCountState {
  refreshes: number;
  onDemand: number;
  failures: number;
  /** The newest line that was counted. */
  seenAt?: number;
  /** The newest regular poll. */
  lastAt?: number;
  lastFailedAt?: number;
  lastError?: string;
  /** The newest intervals, in milliseconds. */
  intervals: number[];
}

export interface RefreshCountState {
  edges: CountedEdge[];
  counts: Record<string, EdgeCountState>;
  own: Record<string, string>;
  stored: Record<string, Record<string, string>>;
  gaps: { cluster: string; from: number; to: number }[];
  problems: Record<string, string>;
}

export interface RotateWatchState {
  since: number;
  count: RefreshCountState;
  cursors: Record<string, LogCursor>;
  /** The rotation is done. */
  rotation?: RotationProof;
}

/** What the rotation of one member's CA takes. */
export interface RotateCaInput extends RotateRequest {
  federation: string;
  trustDomain: string;
  /** All members whose edges are watched. */
  edges: CountedEdge[];
}

export type RotateCaResult = ChangeResult & { rotation: RotationProof };

/** A SPIRE server's CA that is to be the next one. */
export interface PreparedAuthority {
  authorityId: string;
  /** The one that is active. */
  activeId: string;
  /** Identities of their certificates, as BundleKey has them. */
  keyId: string;
  activeKeyId: string;
}

export interface AwaitAuthorityRequest {
  cluster: string;
  federation: string;
  /** Whose bundle has to have the key. */
  trustDomain: string;
  keyId: string;
  /** A fetch is forced as often as SPIRE polls. */
  intervalMs: number;
  timeoutMs: number;
}

export interface HeldAuthority {
  at: number;
  forced: number;
}

export interface AuthorityRequest {
  cluster: string;
  federation: string;
  authorityId: string;
  keyId: string;
}

/** An edge that is not as it has to be. */
export interface EdgeProblem {
  edge: string;
  type: FederatorErrorType;
  message: string;
}

export const ROTATE_WATCH_QUERY = 'refreshes';
export const ROTATE_WATCH_STOP_SIGNAL = 'stop';
