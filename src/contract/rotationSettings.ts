import { z } from 'zod';
import { federationName } from './change.js';
import type { RotateWatchInput } from './rotation.js';

/** Refreshes per edge where nothing is said of the end. */
export const DEFAULT_ROTATIONS = 3;
/** Workloads get new SVIDs within some seconds after a taint: agents ask every 5 s (spire: agent sync_interval). */
const DEFAULT_SETTLE_MS = 30_000;
/** SPIRE server presents its old SVID for up to 5 s longer (its rotator's tick): peers could not fetch the bundle. */
const SHORTEST_SETTLE_MS = 10_000;
const DEFAULT_HOLD_TIMEOUT_MS = 10 * 60_000;

/** What people ask of rotateWatch; apart from its types, so that workflows need not carry it. */
export const rotateWatchInputSchema = z
  .strictObject({
    federation: federationName,
    rotations: z.number().int().positive().max(100_000).optional(),
    forMs: z
      .number()
      .positive()
      .max(30 * 24 * 3_600_000, 'at most 30 days')
      .optional(),
    rotate: z
      .strictObject({
        cluster: z.string().min(1),
        revoke: z.boolean().default(false),
        holdTimeoutMs: z.number().positive().default(DEFAULT_HOLD_TIMEOUT_MS),
        settleMs: z.number().min(SHORTEST_SETTLE_MS, 'at least 10 s').default(DEFAULT_SETTLE_MS),
      })
      .optional(),
    windowsPerRun: z.number().int().positive().optional(),
  })
  .transform(({ rotations, ...input }) => ({
    ...input,
    // A rotation ends the watch by itself where nothing else was said.
    rotations: rotations ?? (input.forMs === undefined && input.rotate === undefined ? DEFAULT_ROTATIONS : undefined),
  })) satisfies z.ZodType<RotateWatchInput>;
