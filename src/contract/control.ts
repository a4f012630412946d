/**
 * How a SPIRE server's configuration is changed: `configMap`, by its ConfigMap and StatefulSet; `operator`, by the
 * resource SpireServer of OpenShift's Zero Trust Workload Identity Manager (ZTWIM), whose operator renders them.
 */
export type ControlType = 'configMap' | 'operator';

export type RelationshipKind = 'static' | 'dynamic';
/** One kind for all members, or by how their SPIRE servers are configured. */
export type Relationships = RelationshipKind | Readonly<Record<ControlType, RelationshipKind>>;

export interface ConfigMapControl {
  type: 'configMap';
  /** How the engine came to know, for people: "no operator owns the ConfigMap". */
  told: string;
  /** An operator leaves its objects alone for now, and how the engine came to know. */
  createOnly?: string;
  /** spec.federation that such an operator has rendered before; its Route is still there. */
  federation?: SpireServerFederation;
}

export interface OperatorControl {
  type: 'operator';
  told: string;
  /** spec.federation of SpireServer; absent while it has none. */
  federation?: SpireServerFederation;
  /** What the engine has written into it; absent when it has not. */
  record?: SpireServerRecord;
  /** As in ClusterFacts. */
  pendingBundles?: string[];
  /** Why the operator would not do what is asked of it, a sentence each. */
  complaints: string[];
}

/** How one cluster's SPIRE server is configured. */
export type ControlFacts = ConfigMapControl | OperatorControl;

/** spec.federation of a SpireServer (operator.openshift.io/v1alpha1), as far as it is looked at; the rest is kept. */
export interface SpireServerFederation {
  bundleEndpoint: {
    /** https_spiffe or https_web; never changes once it is set. */
    profile?: string;
    refreshHint?: number;
    [more: string]: unknown;
  };
  /** 1 to 50; absent rather than empty. */
  federatesWith?: FederatesWithEntry[];
  /** The strings "true" and "false": whether the operator makes the Route. */
  managedRoute?: string;
}

export interface FederatesWithEntry {
  trustDomain: string;
  bundleEndpointUrl: string;
  bundleEndpointProfile: string;
  endpointSpiffeId?: string;
}

/** What the engine changed of spec.federation. Kept in an annotation beside it. */
export interface SpireServerRecord {
  /** The federation for which it did. */
  federation: string;
  /** spec.federation before the engine first wrote; null when there was none. */
  before: SpireServerFederation | null;
  /** As the engine wrote it last. */
  written: SpireServerFederation;
  /** Trust domains of the entries that are the engine's. */
  peers: string[];
}
