import type { Problem } from './facts.js';
import type { Policy } from './policy.js';

/** A policy as the members of a federation have it. */
export interface FoundPolicy {
  name: string;
  policy: Policy;
  /** Those that have it; the numbers are SPIRE controller manager's, absent until it has looked. */
  members: { cluster: string; podsSelected?: number; entriesToSet?: number }[];
}

export interface FoundPolicies {
  policies: FoundPolicy[];
  /** Clusters that could not be asked; they may be members. */
  unknown: Problem[];
}
