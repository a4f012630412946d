import type { ControlFacts } from './control.js';
import type { FederatorErrorType } from './errors.js';
import type { Exposure } from './inventory.js';
import type { KubernetesObject } from './kubernetes.js';
import type { LabelSelector } from './labelSelector.js';
import type { Policy } from './policy.js';
import type { EndpointProfile, EndpointSettings, ProfileType, ServerConf } from './serverConf.js';

/** Something that stands in the way of a change: what, on which cluster, and what to do about it. */
export interface Problem {
  cluster: string;
  type: FederatorErrorType;
  message: string;
  /** The same without what is not of the federation, for who may not know of others; absent: the message has none. */
  withoutOthers?: string;
  /** The check and its scope (FindingId) that it is all about; absent where it stands in the way of everything. */
  about?: string;
}

/** A trust bundle reduced to what identifies it; the keys themselves stay where they are. */
export interface BundleFacts {
  fingerprint: string;
  /** Identities of the X.509 and JWT authorities, sorted. */
  keyIds: string[];
  /** When the first of its CA certificates expires, ISO 8601. */
  expiresAt?: string;
}

/** How a cluster's bundle endpoint authenticates itself. */
export interface ProfileFacts {
  /** As it is to be: what the inventory says, else as server.conf has it. */
  type: ProfileType;
  /** What the inventory wants in server.conf; absent: what is there stays. */
  wanted?: EndpointProfile;
  /** The inventory names an authority for the certificate (webPkiCA), so systems do not know it by themselves. */
  privateAuthority: boolean;
  /** Why an endpoint that serves https_web already cannot be authenticated. */
  problem?: string;
}

/** A ClusterFederatedTrustDomain as found on a cluster. */
export interface RelationshipFacts {
  name: string;
  /** ISO 8601. Of two for one trust domain the older wins, of two of one second the lesser UID; absent on one to be made. */
  createdAt?: string;
  uid?: string;
  trustDomain: string;
  bundleEndpointURL: string;
  profileType: string;
  endpointSPIFFEID?: string;
  className?: string;
  /** The bundle it was created with (JWKS); what SPIRE stores has long been refreshed since. */
  trustDomainBundle?: string;
  /** Somebody else's that brings no bundle, without which SPIRE server cannot authenticate the endpoint unless it has one. */
  bundleless?: true;
  /** The federation whose engine made it; absent on somebody else's. */
  federation?: string;
  /** The engine made it, and somebody took its labels off. */
  lostLabels?: true;
  /** Why SPIRE controller manager passes it over; absent where it does not. */
  invalid?: string;
  /** SPIRE server stored a bundle of the trust domain before the federation came: it stays when that ends. */
  storedBefore?: true;
  /** Trust domain of the federation's hub, where it has one. */
  hub?: string;
}

/** How a bundle endpoint is exposed: as the inventory says, or by the Route that ZTWIM's operator makes. */
export type ExposureFacts = Exposure | { type: 'managedRoute' };

/** What a cluster looks like to the engine. Read at once, decided upon by pure functions. Holds no secrets. */
export interface ClusterFacts {
  cluster: string;
  namespace: string;
  server: string;
  trustDomain: string;
  spireVersion: string;
  /** Of the objects that SPIRE controller manager acts on. */
  className: string;
  /** It acts on those without a class as well. */
  watchClassless?: true;
  exposure: ExposureFacts;
  profile: ProfileFacts;
  control: ControlFacts;
  /** SPIRE server's own trust bundle, read through this cluster's Kubernetes API. */
  bundle: BundleFacts;
  /** Labels that select the SPIRE server's pod. */
  selector: Record<string, string>;
  /** Service and Route (or Ingress) of the bundle endpoint as they are now; absent ones are not listed. */
  endpointObjects: KubernetesObject[];
  /** Where others reach the bundle endpoint, once that is assigned. */
  endpointUrl?: string;
  serverConf: ServerConf;
  /** Whether the engine has written this server.conf before. */
  serverConfRecorded: boolean;
  /** Trust domains that the engine put into federates_with. */
  recordedPeers: string[];
  /** The endpoint as the engine set it up; absent where it did not, or an older one did. */
  recordedEndpoint?: EndpointSettings;
  statefulSet: {
    /** Whether container port 8443 (or the configured one) is declared. */
    portDeclared: boolean;
    /** Hash of the federation settings the pod was started with. */
    federationHash?: string;
    /** The hash is that of an adoption: the pod was started by others. */
    adopted?: true;
    /** The engine declared the port, and takes it away again. */
    portAdded: boolean;
    /** The federation for which the engine gave the pod its settings. */
    federation?: string;
    /** Hash of the configuration that an operator started the pod with. */
    configHash?: string;
    /** The pod is known to run the federation settings that the engine wrote into server.conf. */
    rolledOut?: true;
  };
  /** SPIRE server's container, as far as it decides which files there are. Values of its environment are not read. */
  container: { mountPaths: string[]; environment: string[] };
  relationships: RelationshipFacts[];
  /** Trust domains whose bundles a removal that was stopped has still to delete; absent where there are none. */
  pendingBundles?: string[];
  /** Foreign bundles that SPIRE server stores, by trust domain. */
  storedBundles: Record<string, BundleFacts>;
  /** ClusterSPIFFEIDs, with their outcome. */
  identities: IdentityFacts[];
  /** Federation of the engine's objects on this cluster, if there are any. */
  federation?: string;
}

/** A ClusterSPIFFEID: what it selects, what it gives, and its outcome. */
export interface IdentityFacts {
  name: string;
  /** ISO 8601. Of two that give a pod the same entry, the older wins; of two of one second, the lesser UID. */
  createdAt: string;
  uid: string;
  className?: string;
  /** Applies only to pods that no other one selects. */
  fallback: boolean;
  /** Shown to workloads that have several identities; empty when there is none. */
  hint: string;
  spiffeIDTemplate: string;
  federatesWith: string[];
  podSelector: LabelSelector;
  namespaceSelector: LabelSelector;
  /** Empty until SPIRE controller manager has looked at it. */
  stats: Record<string, number>;
  federation?: string;
  /** The engine made it, and somebody took its labels off. */
  lostLabels?: true;
  /** What it was rendered from; only on the engine's own. */
  policy?: Policy;
  /** The whole object, as an undo has to restore it; only where it federates or has a policy. */
  object?: KubernetesObject;
}

/** Its ClusterSPIFFEIDs alone, or why they could not be had. */
export interface IdentitiesResult {
  identities?: IdentityFacts[];
  problems: Problem[];
}

/** Facts of one cluster, or why they could not be had. */
export type FactsResult = { facts: ClusterFacts; problems: Problem[] } | { facts?: undefined; problems: Problem[] };
