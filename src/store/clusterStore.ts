import type { ClusterEntry } from '../contract/inventory.js';

/** A cluster as a store has it, without its credentials. */
export interface StoredCluster {
  entry: ClusterEntry;
  /** Changes with every write. */
  version: string;
  /** Its credentials are still to be proven: it is not in the inventory. */
  candidate: boolean;
  /** ISO 8601; absent where somebody else made it. */
  onboardedAt?: string;
  onboardedBy?: string;
  /** Made by somebody else, e.g. Argo CD: used, and never changed or deleted. */
  foreign: boolean;
}

/** What is written of a cluster. */
export interface ClusterRecord {
  entry: ClusterEntry;
  /** As `submittedKubeconfig` made it: one context, nothing outside of itself. */
  kubeconfig: string;
  by: string;
}

/** A Secret of the cluster on which the engine runs, and what of it. */
export interface SecretRef {
  namespace: string;
  name: string;
  key: string;
}

/**
 * Where onboarded clusters and their credentials are kept. A candidate is beside the cluster of its name until it is
 * promoted, so that new credentials can be tried while the old ones are in use.
 * Everything fails with FederatorError StoreUnavailable where the store cannot be read or written.
 */
export interface ClusterStore {
  /** What it is, for messages. */
  readonly description: string;
  /** Clusters and candidates, by name. */
  list(): Promise<StoredCluster[]>;
  /** The kubeconfig of a cluster or a candidate. @throws FederatorError UnknownCluster, InvalidKubeconfig */
  kubeconfig(name: string, candidate: boolean): Promise<string>;
  /**
   * Text of a Secret of the cluster on which the engine runs, for somebody who refers to it.
   * @throws FederatorError InvalidKubeconfig when it has not what is asked for; InvalidInput where there is no such cluster
   */
  secret(ref: SecretRef): Promise<string>;
  /** Keeps a candidate; one that is there is replaced. */
  propose(record: ClusterRecord): Promise<void>;
  /** Makes a candidate the cluster of its name. @throws FederatorError UnknownCluster when there is none */
  promote(name: string): Promise<void>;
  /** Forgets a cluster or a candidate; one that is gone is no error. @throws FederatorError ForeignObject */
  remove(name: string, candidate: boolean): Promise<void>;
}
