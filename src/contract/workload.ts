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

export const workloadReferenceSchema = z.custom<WorkloadReference>((value) => value !== undefined, {
  message: 'must be <namespace>/<pod>, the UID of a pod, or a SPIFFE ID',
});

export const showWorkloadInputSchema = z.strictObject({
  workload: workloadReferenceSchema,
  /** Where to look for it. */
  clusters: z.array(z.string().min(1)).min(1),
  /** Clusters whose SPIRE servers are asked for their keys, to compare what the workload holds with. */
  peers: z.array(z.string().min(1)),
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
  held: Held | NotHeld;
}

/** What a pod was seen to hold. No private key is ever read. */
export interface Held {
  /** How it was seen: "./probe show in container app", "/certs/svid.pem in container app". */
  source: string;
  /** Of its SVIDs, the one that it uses first. */
  spiffeIds: string[];
  /** When that one expires, ISO 8601. */
  expiresAt: string;
  /** X.509 authorities by which it verifies others: SHA-256 of each certificate, hex, sorted. */
  authorities: string[];
}

/** Why it cannot be seen what a pod holds. */
export interface NotHeld {
  unread: string;
  /** Whether that is because the Workload API gives it no identity. */
  noIdentity?: boolean;
}

/** A registration entry in SPIRE server. */
export interface EntryFacts {
  spiffeId: string;
  /** SPIFFE ID of the agent that delivers it. */
  parentId: string;
  federatesWith: string[];
  hint: string;
  /** As SPIRE writes them: "k8s:pod-uid:…". */
  selectors: string[];
}

/** A SPIRE agent that has attested. */
export interface AgentFacts {
  spiffeId: string;
  /** When its own SVID expires, unless it is renewed; ISO 8601. */
  expiresAt: string;
  banned: boolean;
}

/** The X.509 authorities of a cluster's trust domain, by its own SPIRE server: SHA-256, hex, sorted. */
export interface TrustDomainAuthorities {
  cluster: string;
  trustDomain: string;
  authorities: string[];
}

/** What has to be known of a cluster to explain its workloads' identities. */
export interface WorkloadFacts extends TrustDomainAuthorities {
  className: string;
  /** Namespaces that SPIRE controller manager passes over: regular expressions. */
  ignoreNamespaces: string[];
  /** X.509 authorities of the foreign bundles that SPIRE server stores, by trust domain. */
  storedBundles: Record<string, string[]>;
  pods: PodFacts[];
  /** How many more pods have the SPIFFE ID that was asked for. */
  morePods: number;
  /** Agents that entries of these pods name and that have attested. */
  agents: AgentFacts[];
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
  /** The own trust domain and those that its entries federate with: which keys are there. */
  trust: TrustReport[];
  /** Why it has no identity, or what is odd about the one it has, each with a remedy. */
  findings: { evidence: string; remedy: string }[];
}

/** How many of a trust domain's current keys are there; `undefined` where that cannot be told. */
export interface KeysPresent {
  present: number;
  of: number;
}

/** Whether a workload can verify the members of a trust domain. */
export interface TrustReport {
  trustDomain: string;
  /** Cluster of the inventory that says what its current keys are. */
  cluster?: string;
  /** In the bundle that SPIRE server of the workload's cluster stores. */
  stored?: KeysPresent;
  /** In what the workload was seen to hold. */
  held?: KeysPresent;
  /** Whether an entry of the workload federates with it, or it is its own. */
  wanted: boolean;
}

export interface ShowWorkloadResult {
  reports: WorkloadReport[];
  /** How many more pods there are than reports. */
  morePods: number;
  /** Clusters that could not be asked. */
  unknown: { cluster: string; message: string }[];
}
