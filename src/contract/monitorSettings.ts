import { z } from 'zod';
import { federationName } from './change.js';
import type { MonitorSettings, PauseRequest } from './monitor.js';
import { repairPolicySchema } from './repairPolicy.js';
import { DEFAULT_REFRESH_HINT_SECONDS } from './names.js';

/** Schemas of what people say to a monitor; apart from its types, so that workflows need not carry them. */

/** A day: a monitor that looks less often watches over nothing. */
const MAX_SECONDS = 24 * 3600;
/** More than a history has room for: Temporal suggests a new run before that. */
const MAX_ROUNDS = 10_000;

export const monitorSettingsSchema = z.strictObject({
  federation: federationName,
  clusters: z.array(z.string().min(1)).min(2, 'a federation takes two clusters at least'),
  refreshHintSeconds: z.number().int().positive().max(MAX_SECONDS).default(DEFAULT_REFRESH_HINT_SECONDS),
  hub: z.string().min(1).optional(),
  intervalSeconds: z.number().positive().max(MAX_SECONDS).optional(),
  repair: repairPolicySchema.prefault({}),
  observeOnly: z.boolean().default(false),
  roundsPerRun: z.number().int().positive().max(MAX_ROUNDS).optional(),
}) satisfies z.ZodType<MonitorSettings>;

export const pauseSchema = z.strictObject({
  reason: z.string().min(1, 'say why').max(500),
  forSeconds: z
    .number()
    .positive()
    .max(30 * 24 * 3600, 'at most 30 days')
    .optional(),
}) satisfies z.ZodType<PauseRequest>;
