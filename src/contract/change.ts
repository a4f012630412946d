import { z } from 'zod';
import type { Problem } from './facts.js';
import { DEFAULT_REFRESH_HINT_SECONDS, MIN_REFRESH_HINT_SECONDS } from './names.js';

/** A federation's name goes into labels and workflow IDs. */
export const federationName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a DNS label: lower-case letters, digits and dashes');

const clusterNames = z
  .array(z.string().min(1))
  .refine((names) => new Set(names).size === names.length, 'names the same cluster twice');

/** What setupPair is asked to do. */
export const setupInputSchema = z.strictObject({
  federation: federationName,
  clusters: clusterNames.length(2, 'setupPair federates exactly two clusters'),
  /** `static`: also `federates_with` in server.conf, one restart; `dynamic`: ClusterFederatedTrustDomains only. */
  relationships: z.enum(['static', 'dynamic']).default('static'),
  /** How often peers should refresh: they poll at a quarter of it. */
  refreshHintSeconds: z.number().int().min(MIN_REFRESH_HINT_SECONDS).max(3600).default(DEFAULT_REFRESH_HINT_SECONDS),
  /** Prove the federation by mTLS between test workloads. */
  probe: z.boolean().default(true),
  /** Print the plan and change nothing. */
  planOnly: z.boolean().default(false),
  timeouts: z
    .strictObject({
      /** A restarted SPIRE server must be ready within this. */
      rolloutMs: z.number().int().positive().default(180_000),
      /** A bundle endpoint must answer, and a bundle must have arrived, within this. */
      endpointMs: z.number().int().positive().default(60_000),
      /** Test workloads must have an identity and shake hands within this. */
      probeMs: z.number().int().positive().default(90_000),
      /** How often one step is tried, when it fails for a reason that may pass. */
      attempts: z.number().int().positive().default(5),
    })
    .prefault({}),
});
export type SetupInput = z.infer<typeof setupInputSchema>;

/** What teardown is asked to do. Without clusters: those that carry the federation's objects. */
export const teardownInputSchema = z.strictObject({
  federation: federationName,
  clusters: clusterNames.default([]),
  planOnly: z.boolean().default(false),
  timeouts: setupInputSchema.shape.timeouts,
});
export type TeardownInput = z.infer<typeof teardownInputSchema>;

export const verifyInputSchema = z.strictObject({
  federation: federationName,
  clusters: clusterNames.default([]),
});
export type VerifyInput = z.infer<typeof verifyInputSchema>;

/** What a step does to its cluster; `none` means that it is so already. */
export type StepAction = 'create' | 'change' | 'restart' | 'delete' | 'check' | 'none';

/** One step of a plan, in the order in which its cluster takes them. */
export interface PlannedStep {
  /** Stable name: the activity, and where: "applyRoute/client-1", "awaitBundle/client-1←server-1". */
  id: string;
  cluster: string;
  title: string;
  action: StepAction;
}

export type StepState = 'pending' | 'running' | 'done' | 'unchanged' | 'failed' | 'undoing' | 'undone';

export interface StepProgress extends PlannedStep {
  state: StepState;
  /** Milliseconds since the Unix epoch, by the workflow's clock. */
  startedAt?: number;
  elapsedMs?: number;
  note?: string;
}

export interface ChangeProgress {
  phase: 'checking' | 'working' | 'undoing' | 'finished';
  steps: StepProgress[];
}

export interface MemberSummary {
  cluster: string;
  trustDomain: string;
  endpointUrl: string;
  fingerprint: string;
  restarted: boolean;
}

/** Outcome of one mTLS handshake between test workloads. */
export interface ProbeSummary {
  from: string;
  to: string;
  federated: boolean;
  outcome: string;
  ok: boolean;
}

export interface ChangeResult {
  federation: string;
  changed: boolean;
  planned: boolean;
  steps: StepProgress[];
  members: MemberSummary[];
  probes: ProbeSummary[];
  /** What the engine found and did not touch. */
  leftAlone: string[];
}

/** Details of a PreflightFailed failure: everything that stands in the way, at once. */
export interface PreflightDetails {
  problems: Problem[];
}
