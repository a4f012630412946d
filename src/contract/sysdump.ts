import { z } from 'zod';
import { federationName } from './change.js';

/** Bytes, compressed, that one part may have: it travels as an activity's result, which Temporal limits to 2 MB. */
export const MAX_PART_BYTES = 768 * 1024;

/** What is collected in one go: of one cluster, or of the engine's own side. */
export type DumpPart = { kind: 'cluster'; cluster: string } | { kind: 'engine' } | { kind: 'diagnosis' };

export interface DumpInput {
  federation: string;
  part: DumpPart;
  /** How far back logs are read. */
  sinceSeconds: number;
  /** Most bytes of the part, compressed; logs and histories are cut first. */
  limitBytes: number;
}

export interface DumpClusterRequest extends Omit<DumpInput, 'part'> {
  cluster: string;
}

export type DumpEngineRequest = Omit<DumpInput, 'part'>;

/** Something that could not be had, or not wholly, and why. */
export interface MissingPiece {
  what: string;
  why: string;
}

/** Redacted texts: nothing in them is a credential, a token or a private key. */
export interface DumpedPart {
  /** Texts by their path in the archive, as gzipped JSON in base64; absent when there are none. */
  packed?: string;
  /** Small texts by their path, as they are. */
  texts?: Record<string, string>;
  missing: MissingPiece[];
}

/** What people say to `sysdump`. */
export const sysdumpOptionsSchema = z.strictObject({
  federation: federationName,
  sinceSeconds: z
    .number()
    .int()
    .min(60, 'a minute at least')
    .max(7 * 24 * 3600, 'a week at most'),
  maxBytes: z
    .number()
    .int()
    .min(1024 * 1024, 'one MiB at least')
    .max(1024 ** 3, 'one GiB at most'),
});
