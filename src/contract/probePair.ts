import { z } from 'zod';
import { federationName, timeouts } from './change.js';
import { parseWorkloadReference, workloadReferenceSchema, type WorkloadReference } from './workload.js';

/** A workload on a cluster of the inventory. */
export interface PairEnd {
  cluster: string;
  workload: WorkloadReference;
}

/** Reads `<cluster>:<namespace>/<pod>`, `<cluster>:<UID>` or `<cluster>:<SPIFFE ID>`; undefined when it is none of these. */
export function parsePairEnd(text: string): PairEnd | undefined {
  const [, cluster, rest] = /^([a-z0-9][-a-z0-9]*):(.+)$/.exec(text) ?? [];
  const workload = rest === undefined ? undefined : parseWorkloadReference(rest);
  return cluster === undefined || workload === undefined ? undefined : { cluster, workload };
}

const pairEnd = z.strictObject(
  { cluster: z.string().min(1), workload: workloadReferenceSchema },
  { error: 'must be <cluster>:<namespace>/<pod>, or <cluster>: and the UID of a pod or a SPIFFE ID' },
);

/** What probePair is asked to do: whether these two workloads can speak mTLS with each other. */
export const probePairInputSchema = z
  .strictObject({
    federation: federationName,
    from: pairEnd,
    to: pairEnd,
    /** Where the second listens, as the first would reach it: then it is dialled itself, too. */
    address: z
      .string()
      .regex(/^(\[[0-9a-f:]+\]|[^\s:/]+):\d{1,5}$/i, 'must be <host>:<port>')
      .optional(),
    timeouts,
  })
  .refine(({ from, to }) => from.cluster !== to.cluster, {
    message: 'is on the same cluster: workloads of one trust domain need no federation',
    path: ['to'],
  });
export type ProbePairInput = z.infer<typeof probePairInputSchema>;

/** One of two workloads, as far as it decides whether they can speak mTLS. */
export interface PairWorkload {
  cluster: string;
  trustDomain: string;
  pod: { namespace: string; name: string };
  /** Of its registration entries, the one that was asked for first. */
  spiffeIds: [string, ...string[]];
  /** Trust domains that its entries federate with, its own not among them. */
  federatesWith: string[];
}

/** Whether two workloads can speak mTLS, by their registration entries and by what was seen. */
export interface PairVerdict {
  from: PairWorkload;
  to: PairWorkload;
  /** Handshakes in every direction that was tried, or their refusal; `unclear` when neither. */
  outcome: 'handshake' | 'refusal' | 'unclear';
  /** Why they cannot by their entries; empty when they can. */
  reasons: string[];
}
