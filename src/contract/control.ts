/** How a SPIRE server's configuration is changed: by its ConfigMap and StatefulSet. */
export type ControlType = 'configMap';

export type RelationshipKind = 'static' | 'dynamic';
/** One kind for all members, or by how their SPIRE servers are configured. */
export type Relationships = RelationshipKind | Readonly<Record<ControlType, RelationshipKind>>;

/** How one cluster's SPIRE server is configured. */
export interface ConfigMapControl {
  type: 'configMap';
  /** How the engine came to know, for people: "no operator owns the ConfigMap". */
  told: string;
}

export type ControlFacts = ConfigMapControl;
