import { z } from 'zod';
import type { RepairPolicy } from './monitor.js';

/** What the engine may repair without asking anybody. */
export const repairPolicySchema = z.strictObject({
  automatic: z.boolean().default(true),
  caChange: z.enum(['automatic', 'approval']).default('automatic'),
}) satisfies z.ZodType<RepairPolicy>;
