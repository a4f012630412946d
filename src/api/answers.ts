import { z } from 'zod';
import type {
  ChangeProgress,
  ChangeResult,
  MemberSummary,
  PlannedStep,
  ProbeSummary,
  StepProgress,
} from '../contract/change.js';
import type { DiagnosedCheck, Diagnosis } from '../contract/diagnosis.js';
import type {
  ClusterHealth,
  EdgeHealth,
  FederationHealth,
  Finding,
  OpenFinding,
  RepairCount,
  RepairRecord,
} from '../contract/health.js';
import type { KnownMember } from '../contract/monitor.js';
import { policySchema } from '../contract/policy.js';
import type { PairVerdict, PairWorkload } from '../contract/probePair.js';
import type { RotateCaResult, RotationEdgeProof, RotationProof } from '../contract/rotation.js';
import type { Check, VerifyResult } from '../contract/verify.js';

/** Of a schema of the API: every field that the contract has, and no other. */
type Fields<T> = Record<keyof T, z.ZodType>;

/** Milliseconds since the Unix epoch. */
const time = z.number();
const verdict = z.enum(['ok', 'warning', 'failed', 'unknown']);
const edgeVerdict = z.enum(['fresh', 'lagging', 'stale', 'broken', 'unknown']);
const action = z.enum(['refresh', 'restore', 'recreateRelationship', 'rebootstrap', 'restart', 'restoreServerConf']);

const checkFields = {
  name: z.string(),
  /** A cluster, or an edge "trusting←trusted". */
  scope: z.string(),
  verdict,
  evidence: z.string(),
  about: z.string().optional(),
  remedy: z.string().optional(),
  /** It is about an object of somebody else, who has to correct it. */
  foreign: z.literal(true).optional(),
} satisfies Fields<Check>;
const checkSchema = z.object(checkFields).meta({ id: 'Check' });

const findingFields = {
  check: z.string(),
  scope: z.string(),
  /** Name of somebody else's object that it is about, where the scope may have several. */
  about: z.string().optional(),
  evidence: z.string(),
  remedy: z.string(),
  /** What the engine would do about it; absent where a person has to. */
  action: action.optional(),
  needsApproval: z.string().optional(),
} satisfies Fields<Finding>;

export const edgeSchema = z
  .object({
    trusting: z.string(),
    trusted: z.string(),
    verdict: edgeVerdict,
    cause: z
      .enum([
        'neverBootstrapped',
        'unknownAuthority',
        'endpointUnreachable',
        'wrongProfile',
        'webCertificate',
        'certificateTime',
        'relationshipMissing',
        'serverDown',
        'pollerStalled',
      ])
      .optional(),
    evidence: z.string(),
    storedFingerprint: z.string().optional(),
    peerFingerprint: z.string().optional(),
    /** Since the keys were last seen to be equal; absent while they never were. */
    freshnessAgeSeconds: z.number().optional(),
    lastError: z.string().optional(),
  } satisfies Fields<EdgeHealth>)
  .meta({ id: 'Edge' });

/** How many edges have which verdict. */
export const countsSchema = z.object({
  fresh: z.number().int(),
  lagging: z.number().int(),
  stale: z.number().int(),
  broken: z.number().int(),
  unknown: z.number().int(),
} satisfies Fields<FederationHealth['counts']>);

const repairOutcome = z.enum(['healed', 'failed', 'passed']);

export const healthSchema = z
  .object({
    federation: z.string(),
    verdict: z.enum(['ok', 'lagging', 'unknown', 'repairing', 'attention']),
    clusters: z.array(
      z.object({
        cluster: z.string(),
        trustDomain: z.string().optional(),
        server: z.enum(['up', 'down', 'unknown']),
        endpoint: z.enum(['ok', 'failed', 'unknown']),
        evidence: z.string().optional(),
        caRotatesAt: z.string().optional(),
        caExpiresAt: z.string().optional(),
        agents: z.number().int().optional(),
        readAt: time.optional(),
      } satisfies Fields<ClusterHealth>),
    ),
    /** Every edge, or where there are many, those that are not fresh. */
    edges: z.array(edgeSchema),
    counts: countsSchema,
    findings: z.array(
      z.object({
        ...findingFields,
        id: z.string(),
        since: time,
        state: z.enum(['found', 'repairing', 'approval', 'escalated', 'person']),
        attempts: z.number().int(),
      } satisfies Fields<OpenFinding>),
    ),
    repairs: z.array(
      z.object({
        findingId: z.string(),
        check: z.string(),
        scope: z.string(),
        cause: z.string(),
        action: z.enum([...action.options, 'none']),
        evidenceBefore: z.string(),
        evidenceAfter: z.string(),
        outcome: repairOutcome,
        startedAt: time,
        durationMs: z.number(),
      } satisfies Fields<RepairRecord>),
    ),
    repairCounts: z
      .array(
        z.object({
          cause: z.string(),
          outcome: repairOutcome,
          count: z.number().int(),
        } satisfies Fields<RepairCount>),
      )
      .optional(),
    rounds: z.number().int(),
    intervalSeconds: z.number(),
    lastRoundAt: time.optional(),
    paused: z.object({ reason: z.string(), until: time.optional() }).optional(),
    since: time,
  } satisfies Fields<FederationHealth>)
  .meta({ id: 'Health' });

/** What only an adoption and a probe tell is no part of a plan. */
export type Plan = Omit<ChangeResult, 'file' | 'findings' | 'mending' | 'pair'>;

const stepFields = {
  id: z.string(),
  cluster: z.string(),
  title: z.string(),
  action: z.enum(['create', 'change', 'restart', 'delete', 'check', 'none']),
  details: z.array(z.string()).optional(),
} satisfies Fields<PlannedStep>;

const stepSchema = z
  .object({
    ...stepFields,
    state: z.enum(['pending', 'running', 'done', 'unchanged', 'failed', 'undoing', 'undone']),
    startedAt: time.optional(),
    elapsedMs: z.number().optional(),
    note: z.string().optional(),
  } satisfies Fields<StepProgress>)
  .meta({ id: 'Step' });

const planFields = {
  federation: z.string(),
  changed: z.boolean(),
  planned: z.boolean(),
  steps: z.array(stepSchema),
  members: z.array(
    z.object({
      cluster: z.string(),
      trustDomain: z.string(),
      endpointUrl: z.string(),
      fingerprint: z.string(),
      restarted: z.boolean(),
    } satisfies Fields<MemberSummary>),
  ),
  probes: z.array(
    z.object({
      from: z.string(),
      to: z.string(),
      federated: z.boolean(),
      outcome: z.string(),
      ok: z.boolean(),
      pair: z.object({ what: z.string(), expected: z.enum(['handshake', 'refusal']) }).optional(),
    } satisfies Fields<ProbeSummary>),
  ),
  /** What the engine found and would not touch. */
  leftAlone: z.array(z.string()),
  notes: z.array(z.string()).optional(),
} satisfies Fields<Plan>;

/** What an apply would do. */
export const planSchema = z.object(planFields).meta({ id: 'Plan' });

export const progressSchema = z
  .object({
    phase: z.enum(['checking', 'working', 'undoing', 'finished']),
    steps: z.array(stepSchema),
  } satisfies Fields<ChangeProgress>)
  .meta({ id: 'Progress' });

const pairWorkloadSchema = z.object({
  cluster: z.string(),
  trustDomain: z.string(),
  pod: z.object({ namespace: z.string(), name: z.string() }),
  spiffeIds: z.array(z.string()),
  federatesWith: z.array(z.string()),
} satisfies Fields<PairWorkload>);

/** What a change of any type may tell when it has ended. */
export const changeResultSchema = z
  .object({
    ...planFields,
    /** Of a probe between two workloads. */
    pair: z
      .object({
        from: pairWorkloadSchema,
        to: pairWorkloadSchema,
        outcome: z.enum(['handshake', 'refusal', 'unclear']),
        reasons: z.array(z.string()),
      } satisfies Fields<PairVerdict>)
      .optional(),
    /** Of an adoption: what is odd or missing, the steps that would mend it, and the federation as it was found. */
    findings: z.array(checkSchema).optional(),
    mending: z.array(z.object(stepFields)).optional(),
    /** As it is applied; what was found may not be what an apply accepts. */
    file: z.looseObject({ federation: z.string(), clusters: z.array(z.string()) }).optional(),
    /** Of the rotation of a CA. */
    rotation: z
      .object({
        cluster: z.string(),
        oldAuthority: z.string(),
        newAuthority: z.string(),
        preparedAt: time,
        activatedAt: time.optional(),
        taintedAt: time.optional(),
        revokedAt: time.optional(),
        edges: z.array(
          z.object({
            trusting: z.string(),
            trusted: z.string(),
            heldAt: time,
            forced: z.number().int(),
            freshAfterActivationAt: time.optional(),
            freshAfterRevocationAt: time.optional(),
          } satisfies Fields<RotationEdgeProof>),
        ),
      } satisfies Fields<RotationProof>)
      .optional(),
  } satisfies Fields<RotateCaResult>)
  .meta({ id: 'ChangeResult' });

export const verifySchema = z
  .object({
    federation: z.string(),
    clusters: z.array(z.string()),
    verdict,
    checks: z.array(checkSchema),
  } satisfies Fields<VerifyResult>)
  .meta({ id: 'Verification' });

export const diagnosisSchema = z
  .object({
    federation: z.string(),
    clusters: z.array(z.string()),
    verdict,
    checks: z.array(
      z.object({
        ...checkFields,
        /** Another check, `name@scope`, that is wrong and explains this one. */
        because: z.string().optional(),
      } satisfies Fields<DiagnosedCheck>),
    ),
    findings: z.array(z.object(findingFields)),
    members: z.array(
      z.object({
        cluster: z.string(),
        trustDomain: z.string().optional(),
        endpointUrl: z.string().optional(),
      } satisfies Fields<KnownMember>),
    ),
    policies: z.array(policySchema).optional(),
    hub: z.string().optional(),
  } satisfies Fields<Diagnosis>)
  .meta({ id: 'Diagnosis' });
