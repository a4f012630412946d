import { z } from 'zod';
import { federationName } from '../contract/change.js';
import { clusterEntrySchema, clusterSchema } from '../contract/inventory.js';
import { problemSchema } from './problem.js';

export const federationParams = z.object({ federation: federationName });
export const runParams = federationParams.extend({ runId: z.uuid() });
export const clusterParams = z.object({ cluster: clusterSchema.shape.name });

export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(500).default(100),
  /** `next` of the page before. */
  cursor: z.string().min(1).max(256).optional(),
});

/** What every route may answer besides what it is for. */
export const problems = { '4xx': problemSchema, '5xx': problemSchema };

export const idempotencyHeaders = z.object({ 'idempotency-key': z.string().optional() });

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
    onboardedAt: z.string().optional(),
    onboardedBy: z.string().optional(),
    /** Made by somebody else, e.g. Argo CD. */
    foreign: z.boolean().optional(),
  })
  .meta({ id: 'Cluster' });

export const clusterDetailSchema = clusterResourceSchema
  .partial({ source: true, namespace: true, server: true })
  .extend({
    state: z.enum(['ready', 'onboarding', 'offboarding', 'failed']),
    change: z.looseObject({ type: z.string(), status: z.string(), runId: z.string(), link: z.string() }).optional(),
  })
  .meta({ id: 'ClusterDetail' });

/** Entry of the inventory that refers to files of the worker is for those who own the inventory file. */
const submittedEntry = clusterEntrySchema.refine(
  ({ bundleEndpoint }) => bundleEndpoint?.profile !== 'https_web' || bundleEndpoint.webPkiCA === undefined,
  {
    message: 'names a file where the worker runs: list the cluster in the inventory file instead',
    path: ['bundleEndpoint', 'webPkiCA'],
  },
);

export const credentialsSchema = z.strictObject({
  /** Text of a kubeconfig; only its one context is kept. */
  kubeconfig: z
    .string()
    .min(1)
    .max(256 * 1024),
  /** Context in it; the current one when absent. */
  context: z.string().min(1).optional(),
});

export const onboardSchema = credentialsSchema
  .extend(clusterEntrySchema.shape)
  .extend({ joinFederation: federationName.optional(), probe: z.boolean().default(true) })
  .superRefine(
    ({ kubeconfig: _kubeconfig, context: _context, joinFederation: _join, probe: _probe, ...entry }, context) => {
      const result = submittedEntry.safeParse(entry);
      for (const { message, path } of result.error?.issues ?? []) context.addIssue({ code: 'custom', message, path });
    },
  )
  .meta({ id: 'OnboardCluster' });

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
