import type { Payload } from '@temporalio/common';

/** Names of the fields in which what Temporal keeps has a text that fits, in plain or in bytes. */
export function fieldsWith(pattern: RegExp, kept: unknown, field = ''): Set<string> {
  if (typeof kept === 'string') return new Set(pattern.test(kept) ? [field] : []);
  if (kept instanceof Uint8Array) return fieldsWith(pattern, Buffer.from(kept).toString('latin1'), field);
  if (Array.isArray(kept)) return union(kept.map((each) => fieldsWith(pattern, each, field)));
  if (typeof kept !== 'object' || kept === null) return new Set();
  return union(Object.entries(kept).map(([name, each]) => fieldsWith(pattern, each, name)));
}

/** All payloads in what Temporal keeps that are encrypted. */
export function encryptedPayloads(kept: unknown): Payload[] {
  if (kept instanceof Uint8Array || typeof kept !== 'object' || kept === null) return [];
  const { metadata } = kept as { metadata?: { encoding?: unknown } | null };
  if (metadata?.encoding instanceof Uint8Array)
    return Buffer.from(metadata.encoding).toString() === 'binary/encrypted' ? [kept] : [];
  return Object.values(kept).flatMap(encryptedPayloads);
}

function union(sets: readonly Set<string>[]): Set<string> {
  return new Set(sets.flatMap((each) => [...each]));
}
