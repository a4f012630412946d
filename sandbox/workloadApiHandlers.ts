import {
  status,
  type Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { IdentityState, PodIdentitySource } from './delegatedIdentity.js';
import { spiffeId, type PodIdentity } from './podIdentity.js';
import type { Bundles } from './spireProtos.js';

type Stream = ServerWritableStream<object, object>;
type Failure = Pick<ServiceError, 'code' | 'details'>;

/** Texts and codes are those of SPIRE's agent: pkg/agent/endpoints/workload/handler.go and middleware.go */
const NO_IDENTITY: Failure = { code: status.PERMISSION_DENIED, details: 'no identity issued' };
const NO_SECURITY_HEADER: Failure = {
  code: status.INVALID_ARGUMENT,
  details: 'security header missing from request',
};
const NO_AUDIENCE: Failure = { code: status.INVALID_ARGUMENT, details: 'audience must be specified' };

/**
 * The methods of the SPIFFE Workload API for one pod. Those that are missing here (ValidateJWTSVID, FetchWITSVID,
 * FetchWITBundles) are not to be had from the Delegated Identity API; gRPC answers them with UNIMPLEMENTED.
 */
export function workloadApiHandlers(source: PodIdentitySource): UntypedServiceImplementation {
  return {
    FetchX509SVID: (call: Stream) => streamIdentity(call, source, svidResponse),
    FetchX509Bundles: (call: Stream) => streamIdentity(call, source, ({ bundles }) => ({ bundles })),
    FetchJWTBundles: (call: Stream) => streamJwtBundles(call, source),
    FetchJWTSVID: (call: ServerUnaryCall<JwtSvidRequest, object>, done: sendUnaryData<object>) => {
      fetchJwtSvid(call, source).then((response) => done(null, response), done);
    },
  };
}

function svidResponse({ svids, trustDomainId, bundles }: PodIdentity): object {
  const { [trustDomainId]: bundle, ...federatedBundles } = bundles;
  return {
    svids: svids.map(({ spiffeId, certificates, privateKey, hint }) => ({
      spiffeId,
      x509Svid: Buffer.concat(certificates),
      x509SvidKey: privateKey,
      bundle,
      hint,
    })),
    federatedBundles,
  };
}

/** Sends the answer of the moment and every later one. */
function streamIdentity(call: Stream, source: PodIdentitySource, response: (identity: PodIdentity) => object): void {
  follow(call, source, (identity) => call.write(response(identity)));
}

/** Sends the JWKS documents of the trust domains whose bundles the pod has, whenever one of them changes. */
function streamJwtBundles(call: Stream, source: PodIdentitySource): void {
  let allowed: PodIdentity | undefined;
  let all: Bundles | undefined;
  let sent: string | undefined;
  const send = (): void => {
    if (allowed === undefined || all === undefined) return;
    const { bundles: x509Bundles } = allowed;
    const bundles = Object.fromEntries(Object.entries(all).filter(([id]) => id in x509Bundles));
    const text = JSON.stringify(bundles);
    if (text !== sent) call.write({ bundles });
    sent = text;
  };
  follow(call, source, (identity) => {
    allowed = identity;
    send();
  });
  const unsubscribe = source.subscribeToJwtBundles(
    (bundles) => {
      all = bundles;
      send();
    },
    (ended) => fail(call, ended),
  );
  onEnd(call, unsubscribe);
}

/** Tells the identity of the moment and every later one, until the caller goes or there is no identity any more. */
function follow(call: Stream, source: PodIdentitySource, onIdentity: (identity: PodIdentity) => void): void {
  if (!hasSecurityHeader(call.metadata)) {
    fail(call, NO_SECURITY_HEADER);
    return;
  }
  const tell = (state: IdentityState): void => {
    if (state.kind === 'issued') {
      onIdentity(state.identity);
    } else if (state.kind !== 'starting') {
      unsubscribe();
      fail(call, failureOf(state));
    }
  };
  const unsubscribe = source.onChange(tell);
  onEnd(call, unsubscribe);
  tell(source.state);
}

function onEnd(call: Stream, release: () => void): void {
  call.once('cancelled', release);
  call.once('close', release);
}

interface JwtSvidRequest {
  audience: string[];
  spiffeId: string;
}

async function fetchJwtSvid(call: ServerUnaryCall<JwtSvidRequest, object>, source: PodIdentitySource): Promise<object> {
  if (!hasSecurityHeader(call.metadata)) throw serviceError(NO_SECURITY_HEADER);
  const { audience, spiffeId: wanted } = call.request;
  if (audience.length === 0) throw serviceError(NO_AUDIENCE);
  const { svids } = await source.fetchJwtSvids(audience);
  const chosen = svids
    .map(({ id, token, hint }) => ({ spiffeId: spiffeId(id), svid: token, hint }))
    .filter((svid) => wanted === '' || svid.spiffeId === wanted);
  if (chosen.length === 0) throw serviceError(NO_IDENTITY);
  return { svids: chosen };
}

/** What an agent would answer: it knows no delegates, so a delegate that is not accepted is a pod without identity. */
function failureOf(state: Extract<IdentityState, { kind: 'none' | 'failed' }>): Failure {
  if (state.kind === 'none' || state.error.code === status.PERMISSION_DENIED) return NO_IDENTITY;
  return { code: status.UNAVAILABLE, details: `the SPIRE agent is away: ${state.error.details}` };
}

function hasSecurityHeader(metadata: Metadata): boolean {
  const values = metadata.get('workload.spiffe.io');
  return values.length === 1 && values[0] === 'true';
}

function fail(call: Stream, failure: Failure): void {
  if (!call.writableEnded) call.emit('error', serviceError(failure));
}

function serviceError({ code, details }: Failure): Error & Failure {
  return Object.assign(new Error(details), { code, details });
}
