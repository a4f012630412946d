import {
  loadPackageDefinition,
  type Client,
  type ClientReadableStream,
  type GrpcObject,
  type ServiceClientConstructor,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { toolAsset } from './tools/toolPath.js';

/** spire.api.types.SPIFFEID */
export interface SpiffeIdMessage {
  trustDomain: string;
  path: string;
}

/** spire.api.types.Selector */
export interface SelectorMessage {
  type: string;
  value: string;
}

/** SubscribeToX509SVIDsResponse */
export interface DelegatedX509Svids {
  x509Svids: { x509Svid: { certChain: Buffer[]; id: SpiffeIdMessage; hint: string }; x509SvidKey: Buffer }[];
  /** SPIFFE IDs of trust domains. */
  federatesWith: string[];
}

/** FetchJWTSVIDsResponse */
export interface DelegatedJwtSvids {
  svids: { token: string; id: SpiffeIdMessage; hint: string }[];
}

/** Bundles by the SPIFFE ID of their trust domain. */
export type Bundles = Record<string, Buffer>;

/** spire.api.agent.delegatedidentity.v1.DelegatedIdentity, on a SPIRE agent's admin socket */
export interface DelegatedIdentityClient extends Client {
  SubscribeToX509SVIDs(request: { selectors: SelectorMessage[] }): ClientReadableStream<DelegatedX509Svids>;
  SubscribeToX509Bundles(request: object): ClientReadableStream<{ caCertificates: Bundles }>;
  SubscribeToJWTBundles(request: object): ClientReadableStream<{ bundles: Bundles }>;
  FetchJWTSVIDs(
    request: { selectors: SelectorMessage[]; audience: string[] },
    done: (error: ServiceError | null, response?: DelegatedJwtSvids) => void,
  ): void;
}

/** The gRPC services that a pod's Workload API is made of, read from the .proto files that come with SPIRE. */
export interface SpireServices {
  delegatedIdentity: new (...args: ConstructorParameters<ServiceClientConstructor>) => DelegatedIdentityClient;
  workloadApi: ServiceDefinition;
}

let services: SpireServices | undefined;

/** Throws when the .proto files are not there (see toolAsset). */
export function spireServices(): SpireServices {
  services ??= load();
  return services;
}

function load(): SpireServices {
  const files = ['spire/api/agent/delegatedidentity/v1/delegatedidentity.proto', 'spiffe/workload/workload.proto'];
  const definition = loadSync(files, { includeDirs: [toolAsset('spire-protos')], defaults: true, longs: Number });
  const root = loadPackageDefinition(definition);
  const delegatedIdentity = at(root, 'spire.api.agent.delegatedidentity.v1.DelegatedIdentity');
  return {
    delegatedIdentity: delegatedIdentity as unknown as SpireServices['delegatedIdentity'],
    workloadApi: at(root, 'SpiffeWorkloadAPI').service,
  };
}

function at(root: GrpcObject, name: string): ServiceClientConstructor {
  const found = name.split('.').reduce<unknown>((parent, key) => (parent as GrpcObject | undefined)?.[key], root);
  if (found === undefined) throw new Error(`the .proto files of SPIRE define no ${name}`);
  return found as ServiceClientConstructor;
}
