import { z } from 'zod';
import type { IdentityFacts } from './facts.js';

/** Which workload: a pod by name or UID, or all that have a SPIFFE ID. */
export type WorkloadReference =
  | { kind: 'pod'; namespace: string; name: string }
  | { kind: 'uid'; uid: string }
  | { kind: 'spiffeId'; spiffeId: string };

const UID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const POD = /^([a-z0-9][-a-z0-9]*)\/([a-z0-9][-a-z0-9.]*)$/;

/** Reads `<namespace>/<pod>`, a pod's UID or a SPIFFE ID; undefined when it is none of these. */
export function parseWorkloadReference(text: string): WorkloadReference | undefined {
  if (text.startsWith('spiffe://')) return { kind: 'spiffeId', spiffeId: text };
  if (UID.test(text)) return { kind: 'uid', uid: text };
  const [, namespace, name] = POD.exec(text) ?? [];
  return namespace === undefined || name === undefined ? undefined : { kind: 'pod', namespace, name };
}

export const showWorkloadInputSchema = z.strictObject({
  workload: z.custom<WorkloadReference>((value) => value !== undefined, {
    message: 'must be <namespace>/<pod>, the UID of a pod, or a SPIFFE ID',
  }),
  clusters: z.array(z.string().min(1)).min(1),
});
export type ShowWorkloadInput = z.infer<typeof showWorkloadInputSchema>;

/** A pod as far as its identity is concerned. */
export interface PodFacts {
  namespace: string;
  name: string;
  uid: string;
  labels: Record<string, string>;
  namespaceLabels: Record<string, string>;
  serviceAccount: string;
  phase: string;
  nodeName?: string;
  /** Whether it mounts the volume through which workloads get at the Workload API. */
  csiVolume: boolean;
}

/** A registration entry in SPIRE server. */
export interface EntryFacts {
  spiffeId: string;
  federatesWith: string[];
  hint: string;
  /** As SPIRE writes them: "k8s:pod-uid:…". */
  selectors: string[];
}

/** What has to be known of a cluster to explain its workloads' identities. */
export interface WorkloadFacts {
  cluster: string;
  trustDomain: string;
  className: string;
  storedBundles: string[];
  pods: PodFacts[];
  /** Entries of these pods, or of the SPIFFE ID that was asked for. */
  entries: EntryFacts[];
  identities: IdentityFacts[];
}

export interface WorkloadReport {
  cluster: string;
  pod: PodFacts;
  /** Each with the ClusterSPIFFEID it came from, where that can be told. */
  entries: (EntryFacts & { from?: string })[];
  /** Every ClusterSPIFFEID, and what it does to this pod. */
  policies: { name: string; effect: string }[];
  /** Why it has no identity, or what is odd about the one it has, each with a remedy. */
  findings: { evidence: string; remedy: string }[];
}

export interface ShowWorkloadResult {
  reports: WorkloadReport[];
  /** Clusters that could not be asked. */
  unknown: { cluster: string; message: string }[];
}
