import { z } from 'zod';
import type { Problem } from './facts.js';
import { federationName } from './change.js';

const clusterName = z.string().min(1);

/** What onboardCluster is asked to do: its candidate is in the store. */
export const onboardInputSchema = z.strictObject({
  cluster: clusterName,
  /** The cluster is there already, and gets new credentials. */
  replaces: z.boolean().default(false),
  /** Federation that it is brought into afterwards. */
  joinFederation: federationName.optional(),
  /** Prove the federation by mTLS between test workloads. */
  probe: z.boolean().default(true),
});
export type OnboardInput = z.infer<typeof onboardInputSchema>;

/** What offboardCluster is asked to do. */
export const offboardInputSchema = z.strictObject({
  cluster: clusterName,
  /** It leaves its federation first. */
  leave: z.boolean().default(false),
  /** It is gone for good: only the others of its federation are cleaned up. Needs `federation`. */
  unreachable: z.boolean().default(false),
  federation: federationName.optional(),
});
export type OffboardInput = z.infer<typeof offboardInputSchema>;

/** What a look at a cluster told. */
export interface ConnectionReport {
  cluster: string;
  ok: boolean;
  problems: Problem[];
  trustDomain?: string;
  spireVersion?: string;
  /** The federation of which it is a member. */
  federation?: string;
}

export interface OnboardResult extends ConnectionReport {
  joined?: string;
}

export interface OffboardResult {
  cluster: string;
  left?: string;
  notes: string[];
}

/** Federations by what their members' clusters say, and the clusters that could not be asked. */
export interface FoundFederations {
  federations: Record<string, string[]>;
  unknown: Problem[];
}
