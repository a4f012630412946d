/**
 * How long SPIRE controller manager may take to act on an object that was deleted, in milliseconds. As a rule it is a
 * moment. But after an outage of the API server its watches come back one by one, each after a pause that has grown with
 * the outage (client-go: tools/cache/reflector.go, backoff to 30 s and more by chance): 7 s to 70 s were seen on the
 * sandbox. To give up before it has looked would fail a change, or an undo, that needs nothing but patience.
 */
const NOTICED_WITHIN_MS = 120_000;

/** A time to wait for what SPIRE controller manager has to notice first, not shorter than that can take. */
export function noticedWithinMs(timeoutMs: number): number {
  return Math.max(timeoutMs, NOTICED_WITHIN_MS);
}
