/** What stands where a secret was. */
export const REDACTED = '<redacted>';

/** Shorter ones would take ordinary words away, and no credential is so short. */
const SHORTEST_SECRET = 8;

/** Names whose values are secrets; what only names a file, an object or a kind of secret is none. */
const SECRET_NAME =
  /(password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credential|connection[-_]?string|authorization|cookie)/i;
const NO_SECRET_NAME = /(name|names|path|file|dir|ref|kind|type|url|policy|format|count|id|ids|seconds|ttl|timeout)$/i;

/** Whether what is kept under a name is a secret. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name) && (!NO_SECRET_NAME.test(name) || /secret[-_]?id|access[-_]?key[-_]?id/i.test(name));
}

/** Secrets by what they look like, with what stands for them. */
const SHAPES: readonly [RegExp, string][] = [
  // Also where its lines are joined by an escaped line break, as in JSON.
  [/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g, REDACTED],
  // PEM in base64, as kubeconfigs and Secrets have it ("-----BEGIN "); certificates are among it, and no loss.
  [/LS0tLS1CRUdJTi[A-Za-z0-9+/=]+/g, REDACTED],
  // Signed tokens (JWT): of ServiceAccounts, JWT-SVIDs, Vault's.
  [/\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*/g, REDACTED],
  [/\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}/gi, `$1$2${REDACTED}`],
  // Name and password in a URL.
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@"'<>]+@/gi, `$1${REDACTED}@`],
  [/\b(AKIA|ASIA)[A-Z0-9]{16}\b/g, REDACTED],
  [/\b(hvs|hvb|s)\.[A-Za-z0-9_-]{24,}/g, REDACTED],
  // The private part of a JWK.
  [/("d"\s*:\s*")[A-Za-z0-9_-]{20,}(")/g, `$1${REDACTED}$2`],
];

/** `name=value` and `"name": "value"`, also in JSON within JSON, whose quotes are escaped. */
const ASSIGNMENT = /([A-Za-z0-9_.-]+)(\\*["']?\s*[=:]\s*\\*["']?)([^\s"'\\,;&{}[\]<>]+)/g;
const HARMLESS_VALUE = /^(true|false|null|none|nil|\d+)$/i;

/** What follows a harmless name may be an assignment itself: `no: password=…`. */
function withoutAssigned(text: string): string {
  return text.replace(ASSIGNMENT, (_all, name: string, between: string, value: string) =>
    isSecretName(name) && !HARMLESS_VALUE.test(value)
      ? `${name}${between}${REDACTED}`
      : `${name}${between}${withoutAssigned(value)}`,
  );
}

/**
 * A text without secrets: without those that are known, and without whatever looks like one or has the name of one.
 * @param known credentials that must not be in it, whatever they look like
 */
export function redactText(text: string, known: readonly string[] = []): string {
  let redacted = text;
  for (const secret of known) {
    if (secret.length >= SHORTEST_SECRET) redacted = redacted.replaceAll(secret, REDACTED);
  }
  for (const [shape, stands] of SHAPES) redacted = redacted.replace(shape, stands);
  return withoutAssigned(redacted);
}

/** A value of JSON without what is kept under the name of a secret; texts in it are redacted as texts. */
export function redactValue(value: unknown): unknown {
  if (typeof value === 'string') return redactText(value);
  if (Array.isArray(value)) return value.map(redactValue);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      isSecretName(name) && typeof member === 'string' ? REDACTED : redactValue(member),
    ]),
  );
}
