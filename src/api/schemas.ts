import { z } from 'zod';
import { federationName } from '../contract/change.js';
import { clusterEntrySchema, clusterSchema, type ClusterEntry } from '../contract/inventory.js';
import { problemSchema } from './problem.js';

export const federationParams = z.object({ federation: federationName });
export const runParams = federationParams.extend({ runId: z.uuid() });
export const clusterParams = z.object({ cluster: clusterSchema.shape.name });

export const clusterRunParams = clusterParams.extend({ runId: z.uuid() });

export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(500).default(100),
  /** `next` of the page before. */
  cursor: z.string().min(1).max(256).optional(),
});

/** What every route may answer besides what it is for. */
export const problems = { '4xx': problemSchema, '5xx': problemSchema };

export const idempotencyHeaders = z.object({ 'idempotency-key': z.string().optional() });
/** Of what is only to be done to a federation that is still as it was seen. */
export const changingHeaders = idempotencyHeaders.extend({ 'if-match': z.string().optional() });

export const changeSchema = z
  .object({
    federation: z.string(),
    workflowId: z.string(),
    runId: z.string(),
    type: z.string(),
    status: z.string(),
    startedAt: z.string(),
    endedAt: z.string().optional(),
    requestedBy: z.string().optional(),
    /** It only planned, and changed nothing. */
    planOnly: z.boolean().optional(),
    /** Page in the Temporal Web UI. */
    link: z.string(),
  })
  .meta({ id: 'Change' });

/** Something was started: where it can be followed. */
export const acceptedSchema = z
  .object({
    workflowId: z.string(),
    runId: z.string(),
    /** Page in the Temporal Web UI. */
    link: z.string(),
    /** Path of this API under which it is followed. */
    location: z.string(),
  })
  .meta({ id: 'Accepted' });

export const clusterResourceSchema = z
  .object({
    name: z.string(),
    source: z.enum(['inventory', 'store']),
    namespace: z.string(),
    server: z.string(),
    region: z.string().optional(),
    onboardedAt: z.string().optional(),
    onboardedBy: z.string().optional(),
    /** Made by somebody else, e.g. Argo CD. */
    foreign: z.boolean().optional(),
  })
  .meta({ id: 'Cluster' });

export const clusterChangeSchema = z
  .object({
    type: z.string(),
    status: z.string(),
    runId: z.string(),
    link: z.string(),
    startedAt: z.string(),
    endedAt: z.string().optional(),
    result: z.unknown().optional(),
    error: z.object({ type: z.string(), message: z.string() }).optional(),
  })
  .meta({ id: 'ClusterChange' });

export const clusterDetailSchema = clusterResourceSchema
  .partial({ source: true, namespace: true, server: true })
  .extend({
    state: z.enum(['ready', 'onboarding', 'offboarding', 'failed']),
    change: clusterChangeSchema.optional(),
  })
  .meta({ id: 'ClusterDetail' });

const objectName = z.string().regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'is not the name of a Kubernetes object');

const secretRefSchema = z.strictObject({
  namespace: objectName,
  name: objectName,
  /** Of the kubeconfig in it. */
  key: z
    .string()
    .regex(/^[-._a-zA-Z0-9]{1,253}$/, 'is not a key of a Secret')
    .default('kubeconfig'),
});

const credentials = {
  /** Text of a kubeconfig; only its one context is kept. */
  kubeconfig: z
    .string()
    .min(1)
    .max(256 * 1024)
    .optional(),
  /** Secret of the cluster on which the engine runs that has it instead; its content is taken over now. */
  secretRef: secretRefSchema.optional(),
  /** Context in it; the current one when absent. */
  context: z.string().min(1).optional(),
};
export type Credentials = z.infer<typeof credentialsSchema>;

const hasOne = ({ kubeconfig, secretRef }: { kubeconfig?: unknown; secretRef?: unknown }) =>
  (kubeconfig === undefined) !== (secretRef === undefined);
const ONE = { message: 'either a kubeconfig or the secretRef of one', path: ['kubeconfig'] };

export const credentialsSchema = z.strictObject(credentials).refine(hasOne, ONE);

/** A cluster that is not in the inventory, and how it is reached. */
export const candidateSchema = z
  .strictObject({ ...credentials, ...clusterEntrySchema.shape })
  .refine(hasOne, ONE)
  .superRefine(checkEntry)
  .meta({ id: 'TestCluster' });

export const onboardSchema = z
  .strictObject({
    ...credentials,
    ...clusterEntrySchema.shape,
    joinFederation: federationName.optional(),
    probe: z.boolean().default(true),
  })
  .refine(hasOne, ONE)
  .superRefine(checkEntry)
  .meta({ id: 'OnboardCluster' });

function checkEntry(
  { bundleEndpoint }: Pick<ClusterEntry, 'bundleEndpoint'>,
  context: { addIssue: (issue: { code: 'custom'; message: string; path: string[] }) => void },
): void {
  if (bundleEndpoint?.profile !== 'https_web' || bundleEndpoint.webPkiCA === undefined) return;
  context.addIssue({
    code: 'custom',
    message: 'names a file where the worker runs: list the cluster in the inventory file instead',
    path: ['bundleEndpoint', 'webPkiCA'],
  });
}

export const reportSchema = z
  .object({
    cluster: z.string(),
    ok: z.boolean(),
    problems: z.array(z.object({ cluster: z.string(), type: z.string(), message: z.string() })),
    trustDomain: z.string().optional(),
    spireVersion: z.string().optional(),
    federation: z.string().optional(),
  })
  .meta({ id: 'ConnectionReport' });
