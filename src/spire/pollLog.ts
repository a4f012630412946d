/** A line of SPIRE server's log about its polls of one peer. */
export interface PollLine {
  /** Milliseconds since the Unix epoch, by SPIRE's clock. */
  at: number;
  trustDomain: string;
  kind: 'refreshed' | 'failed' | 'managed' | 'unmanaged';
  /** SPIRE's words for what failed. */
  error?: string;
}

/** Messages of SPIRE's bundle manager (spire: pkg/server/bundle/client/manager.go). */
const MESSAGES: Readonly<Record<string, PollLine['kind']>> = {
  'Bundle refreshed': 'refreshed',
  'Error updating bundle': 'failed',
  'Trust domain is now managed': 'managed',
  'Trust domain no longer managed': 'unmanaged',
};

/** When a line of SPIRE server's log was written, by its clock; undefined when it does not say. */
export function lineTime(line: string): number | undefined {
  const at = Date.parse(fieldsOf(line)['time'] ?? '');
  return Number.isNaN(at) ? undefined : at;
}

/** Reads a line of SPIRE server's log, in its text or its JSON format; undefined when it is about something else. */
export function parsePollLine(line: string): PollLine | undefined {
  const fields = fieldsOf(line);
  const kind = MESSAGES[fields['msg'] ?? ''];
  const trustDomain = fields['trust_domain'] ?? fields['trust_domain_id'];
  const at = Date.parse(fields['time'] ?? '');
  if (kind === undefined || trustDomain === undefined || Number.isNaN(at)) return undefined;
  const { error } = fields;
  return {
    at,
    kind,
    trustDomain: trustDomain.replace(/^spiffe:\/\//, ''),
    ...(error === undefined ? {} : { error }),
  };
}

function fieldsOf(line: string): Record<string, string> {
  const start = line.indexOf('{');
  return start >= 0 && /^(\S+ )?\{"/.test(line) ? jsonFields(line.slice(start)) : textFields(line);
}

function textFields(line: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [, key = '', quoted, plain] of line.matchAll(/(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))/g)) {
    fields[key] = quoted === undefined ? (plain ?? '') : quoted.replaceAll(/\\(.)/g, '$1');
  }
  return fields;
}

function jsonFields(text: string): Record<string, string> {
  try {
    const value = JSON.parse(text) as Record<string, unknown>;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, String(each)]));
  } catch {
    // A line that was cut off says nothing.
    return {};
  }
}
