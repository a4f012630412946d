import { z } from 'zod';
import { federationName } from './change.js';
import type { MonitorSettings, PauseRequest } from './monitor.js';
import { repairPolicySchema } from './repairPolicy.js';
import { DEFAULT_REFRESH_HINT_SECONDS } from './names.js';

/** Schemas of what people say to a monitor; apart from its types, so that workflows need not carry them. */

export const monitorSettingsSchema = z.strictObject({
  federation: federationName,
  clusters: z.array(z.string().min(1)).min(2, 'a federation takes two clusters at least'),
  refreshHintSeconds: z.number().int().positive().default(DEFAULT_REFRESH_HINT_SECONDS),
  hub: z.string().min(1).optional(),
  intervalSeconds: z.number().positive().optional(),
  repair: repairPolicySchema.prefault({}),
  roundsPerRun: z.number().int().positive().optional(),
}) satisfies z.ZodType<MonitorSettings>;

export const pauseSchema = z.strictObject({
  reason: z.string().min(1, 'say why').max(500),
  forSeconds: z
    .number()
    .positive()
    .max(30 * 24 * 3600, 'at most 30 days')
    .optional(),
}) satisfies z.ZodType<PauseRequest>;
