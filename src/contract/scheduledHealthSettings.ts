import { z } from 'zod';
import { federationName } from './change.js';

/** What people say of schedules; apart from what workflows carry, so that they need not carry schemas. */

export const DEFAULT_SCHEDULE = 'health';
const EVERY = /^(\d+)(s|m|h|d)$/;
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
/** A look takes some seconds of every cluster. */
const SHORTEST_SECONDS = 60;

/** An interval such as "10m", in milliseconds. */
const every = z
  .string()
  .regex(EVERY, 'must be an interval such as 90s, 10m, 2h or 1d')
  .transform((text) => {
    const [, amount = '', unit = ''] = EVERY.exec(text) ?? [];
    return Number(amount) * (SECONDS[unit] ?? 0) * 1000;
  })
  .refine((ms) => ms >= SHORTEST_SECONDS * 1000, `must be ${SHORTEST_SECONDS} s at least`);

/** What people say to `health schedule`. */
export const healthScheduleSchema = z
  .strictObject({
    federation: federationName,
    name: federationName.default(DEFAULT_SCHEDULE),
    every: every.optional(),
    /** Five fields, or six with seconds first, or @daily and its like. */
    cron: z.string().min(1).optional(),
    timezone: z.string().min(1).optional(),
    probe: z.boolean().default(false),
    /** Take the place of a schedule of that name. */
    replace: z.boolean().default(false),
  })
  .refine(({ every: interval, cron }) => (interval === undefined) !== (cron === undefined), {
    message: 'say either --every or --cron',
  })
  .refine(({ cron, timezone }) => timezone === undefined || cron !== undefined, {
    message: '--timezone goes with --cron',
  });
export type HealthScheduleSettings = z.infer<typeof healthScheduleSchema>;
