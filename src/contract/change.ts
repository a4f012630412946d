import { z } from 'zod';
import type { Relationships } from './control.js';
import type { Problem } from './facts.js';
import type { PairVerdict } from './probePair.js';
import type { Check } from './verify.js';
import { repairPolicySchema } from './repairPolicy.js';
import { policiesSchema } from './policy.js';
import { DEFAULT_REFRESH_HINT_SECONDS, MIN_REFRESH_HINT_SECONDS } from './names.js';

/** A federation's name goes into labels and workflow IDs. */
export const federationName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a DNS label: lower-case letters, digits and dashes');

const clusterNames = z
  .array(z.string().min(1))
  .refine((names) => new Set(names).size === names.length, 'names the same cluster twice');

/** Nobody waits longer for a step that is stuck: its change could not be told from one that hangs. */
const MAX_WAIT_MS = 3_600_000;
const waitMs = z.number().int().positive().max(MAX_WAIT_MS, 'at most an hour');

/** How long a change waits, and how often it tries. */
export const timeouts = z
  .strictObject({
    /** A restarted SPIRE server must be ready within this. */
    rolloutMs: waitMs.default(180_000),
    /** A bundle endpoint must answer, and a bundle must have arrived, within this. */
    endpointMs: waitMs.default(60_000),
    /** Test workloads must have an identity and shake hands within this. */
    probeMs: waitMs.default(90_000),
    /** How often one step is tried, when it fails for a reason that may pass. */
    attempts: z.number().int().positive().max(100).default(5),
  })
  .prefault({});
export type Timeouts = z.infer<typeof timeouts>;

/** How a change is done, whatever it does. */
const changeOptions = {
  federation: federationName,
  /** Print the plan and change nothing. */
  planOnly: z.boolean().default(false),
  /** How many SPIRE servers that are members already may restart at once. Newcomers restart when they are ready to. */
  maxUnavailable: z.number().int().positive().max(1_000).default(1),
  timeouts,
};

/** Whether the federation is watched over afterwards, and what may be repaired without asking. */
const watch = {
  monitor: z.boolean().default(true),
  repair: repairPolicySchema.optional(),
};

const relationships = z.enum(['static', 'dynamic']);
const relationshipsByControl = z.strictObject({ configMap: relationships, operator: relationships });
const refreshHintSeconds = z.number().int().min(MIN_REFRESH_HINT_SECONDS).max(3600);

/** What a federation should be like; what is absent is as its members have it, or the default where there are none. */
const settings = {
  /** `static`: also `federates_with` in server.conf, one restart; `dynamic`: ClusterFederatedTrustDomains only. */
  relationships: relationships.optional(),
  /** How often peers should refresh: they poll at a quarter of it. */
  refreshHintSeconds: refreshHintSeconds.optional(),
  /** `mesh`: all trust all; `hub`: one trusts all and all trust it. */
  topology: z.enum(['mesh', 'hub']).optional(),
  /** Which workloads federate. An empty list: none. */
  policies: policiesSchema.optional(),
};

const meshInput = z.strictObject({
  ...changeOptions,
  ...settings,
  /** Empty: the members, or all of the inventory where there are none. Existing members are always among them. */
  clusters: clusterNames.default([]),
  /** Cluster that all others trust and that trusts all others. */
  hub: z.string().min(1).optional(),
  /** Prove the federation by mTLS between test workloads. */
  probe: z.boolean().default(true),
  ...watch,
});

/** What setupMesh is asked to do. */
export const setupMeshInputSchema = meshInput
  .refine(({ clusters }) => clusters.length !== 1, {
    message: 'a federation takes two clusters at least',
    path: ['clusters'],
  })
  .refine(({ hub, clusters }) => hub === undefined || clusters.length === 0 || clusters.includes(hub), {
    message: 'the hub must be one of the clusters',
    path: ['hub'],
  })
  .refine(({ hub, topology }) => (topology === 'hub') === (hub !== undefined) || topology === undefined, {
    message: 'topology hub takes a hub, and topology mesh none',
    path: ['hub'],
  });
export type SetupMeshInput = z.infer<typeof setupMeshInputSchema>;

/** What setupPair is asked to do: setupMesh in its case of two. */
export const setupPairInputSchema = setupMeshInputSchema.refine(({ clusters }) => clusters.length === 2, {
  message: 'setupPair federates exactly two clusters; setupMesh takes any number',
  path: ['clusters'],
});

/** A setup with everything decided. */
export type SetupInput = Omit<SetupMeshInput, 'relationships' | 'refreshHintSeconds' | 'topology'> & {
  relationships: Relationships;
  refreshHintSeconds: number;
};

/** What addCluster is asked to do: everything that is not said is as the members have it. */
export const addClusterInputSchema = z.strictObject({
  ...changeOptions,
  /** Absent: the one cluster of the inventory that is not a member. */
  cluster: z.string().min(1).optional(),
  probe: z.boolean().default(true),
  ...watch,
});
export type AddClusterInput = z.infer<typeof addClusterInputSchema>;

export const removeClusterInputSchema = z
  .strictObject({
    ...changeOptions,
    /** With trust domains, any name for what is removed. */
    cluster: z.string().min(1),
    /** The cluster is gone for good: clean up the others and say what would be left to do there. */
    unreachable: z.boolean().default(false),
    /** Of what is gone for good, where the inventory does not tell: of a cluster it lists no more, or of several at once. */
    trustDomains: z.array(z.string().min(1)).default([]),
  })
  .refine(({ unreachable, trustDomains }) => unreachable || trustDomains.length === 0, {
    message: 'trust domains are named of what is gone for good: say that it is unreachable',
    path: ['trustDomains'],
  });
export type RemoveClusterInput = z.infer<typeof removeClusterInputSchema>;

/** What adopt is asked to do. Without clusters: all of the inventory. */
export const adoptInputSchema = z.strictObject({
  federation: federationName,
  clusters: clusterNames.default([]),
  planOnly: z.boolean().default(false),
  ...watch,
  timeouts,
});
export type AdoptInput = z.infer<typeof adoptInputSchema>;

/** What probe is asked to do. Without clusters: all members. */
export const probeInputSchema = z.strictObject({
  federation: federationName,
  clusters: clusterNames.default([]),
  timeouts,
});
export type ProbeMatrixInput = z.infer<typeof probeInputSchema>;

/** What teardown is asked to do. Without clusters: those that carry the federation's objects. */
export const teardownInputSchema = z.strictObject({
  federation: federationName,
  clusters: clusterNames.default([]),
  planOnly: z.boolean().default(false),
  timeouts,
});
export type TeardownInput = z.infer<typeof teardownInputSchema>;

/** A federation as one reviewed file: what is not in it is not to be. */
export const federationFileSchema = z
  .strictObject({
    federation: federationName,
    clusters: clusterNames.min(2, 'a federation takes two clusters at least'),
    topology: z.enum(['mesh', 'hub']).default('mesh'),
    hub: z.string().min(1).optional(),
    /** Absent: static, and dynamic for members whose SPIRE server an operator configures. */
    relationships: z.union([relationships, relationshipsByControl]).optional(),
    refreshHintSeconds: refreshHintSeconds.default(DEFAULT_REFRESH_HINT_SECONDS),
    policies: policiesSchema.default([]),
    /** What the engine may repair by itself. */
    repair: repairPolicySchema.optional(),
  })
  .superRefine(({ clusters, topology, hub, policies }, context) => {
    const fault = (message: string, ...path: (string | number)[]) =>
      context.addIssue({ code: 'custom', message, path });
    if (topology === 'hub' && hub === undefined)
      fault('topology hub takes a hub: the name of one of the clusters', 'hub');
    if (topology === 'mesh' && hub !== undefined) fault('a mesh has no hub; say topology: hub', 'hub');
    if (hub !== undefined && !clusters.includes(hub)) fault(`the hub ${hub} is not one of the clusters`, 'hub');
    for (const [index, { peers = [] }] of policies.entries()) {
      for (const [position, peer] of peers.entries()) {
        if (!clusters.includes(peer)) {
          fault(`${peer} is not one of the clusters: ${clusters.join(', ')}`, 'policies', index, 'peers', position);
        }
      }
    }
  });
export type FederationFile = z.infer<typeof federationFileSchema>;

/** What applyFederation is asked to do: get to what the file says. */
export type ApplyInput = FederationFile & {
  planOnly: boolean;
  maxUnavailable: number;
  probe: boolean;
  monitor: boolean;
  timeouts: Timeouts;
};

export const applyOptionsSchema = z.strictObject({
  ...changeOptions,
  probe: z.boolean().default(true),
  monitor: watch.monitor,
});

export const verifyInputSchema = z.strictObject({
  federation: federationName,
  clusters: clusterNames.default([]),
});
export type VerifyInput = z.infer<typeof verifyInputSchema>;

/** What a step does to its cluster; `none` means that it is so already. */
export type StepAction = 'create' | 'change' | 'restart' | 'delete' | 'check' | 'none';

/** One step of a plan, in the order in which its cluster takes them. */
export interface PlannedStep {
  /** Stable name: the activity, and where: "applyRoute/client-1", "awaitBundles/client-1". */
  id: string;
  cluster: string;
  title: string;
  action: StepAction;
  /** What exactly is created, changed or removed, a line each. */
  details?: string[];
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
  /** Whether it came as it had to. */
  ok: boolean;
  /** Of a probe between two workloads: what dialled what, and what had to come of it. */
  pair?: { what: string; expected: 'handshake' | 'refusal' };
}

export interface ChangeResult {
  federation: string;
  changed: boolean;
  planned: boolean;
  steps: StepProgress[];
  members: MemberSummary[];
  probes: ProbeSummary[];
  /** Of a probe between two workloads: whether they can speak mTLS. */
  pair?: PairVerdict;
  /** What the engine found and did not touch. */
  leftAlone: string[];
  /** What adopt found odd or missing, each with what to do about it. */
  findings?: Check[];
  /** Steps of a setup that would mend what was found. */
  mending?: PlannedStep[];
  /** The federation as its members have it. */
  file?: FederationFile;
  /** What somebody has to know or do; absent when there is nothing. */
  notes?: string[];
}

/** Details of a PreflightFailed failure: everything that stands in the way, at once. */
export interface PreflightDetails {
  problems: Problem[];
}
