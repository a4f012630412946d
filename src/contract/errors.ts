/**
 * Every error the engine raises on purpose: what is wrong, why, and what to do about it.
 * The type is stable and machine-readable; whether a retry can mend it is decided once, in `retryable`.
 */
export type FederatorErrorType =
  | 'InvalidInput'
  | 'InvalidInventory'
  | 'UnknownCluster'
  | 'InvalidKubeconfig'
  | 'ClusterUnreachable'
  | 'Unauthorized'
  | 'Forbidden'
  | 'NotFound'
  | 'Conflict'
  | 'InvalidObject'
  | 'KubernetesUnavailable'
  | 'ExecFailed'
  | 'SpireUnavailable'
  | 'SpireFailed'
  | 'ServerConfUnreadable'
  | 'ServerConfChanged'
  | 'BundleUnreadable'
  | 'BundleMismatch'
  | 'BundleElsewhere'
  | 'EndpointUnreachable'
  | 'EndpointNotAuthentic'
  | 'NotReady'
  | 'TimedOut'
  | 'PreflightFailed'
  | 'ProbeFailed'
  | 'ForeignObject'
  | 'ChangeInProgress'
  | 'VerifyFailed'
  | 'UndoFailed'
  | 'WebhookUnreachable'
  | 'WebhookRefused'
  | 'StoreUnavailable'
  | 'IssuerUnavailable'
  | 'TemporalUnreachable'
  | 'PayloadUnreadable'
  | 'NoWorker'
  | 'Cancelled'
  | 'Internal';

/** Errors that time or another attempt can mend; all others fail a change at once. */
const RETRYABLE: ReadonlySet<FederatorErrorType> = new Set([
  'ClusterUnreachable',
  'StoreUnavailable',
  'IssuerUnavailable',
  'KubernetesUnavailable',
  'ExecFailed',
  'SpireUnavailable',
  'EndpointUnreachable',
  'NotReady',
  'TimedOut',
  'WebhookUnreachable',
]);

/** An error with a stable type and a message that names the thing, the cause and the remedy. */
export class FederatorError extends Error {
  override readonly name = 'FederatorError';

  /** The same without what is not of the federation that was asked about, for who may not see others; absent: it has none. */
  readonly withoutOthers?: string;

  constructor(
    readonly type: FederatorErrorType,
    message: string,
    { withoutOthers, ...options }: { cause?: unknown; withoutOthers?: string | undefined } = {},
  ) {
    super(message, options);
    if (withoutOthers !== undefined) this.withoutOthers = withoutOthers;
  }

  /** Whether trying again later can succeed without anybody changing anything. */
  get retryable(): boolean {
    return isRetryable(this.type);
  }
}

/** Whether errors of this type may be mended by a retry. */
export function isRetryable(type: FederatorErrorType): boolean {
  return RETRYABLE.has(type);
}
