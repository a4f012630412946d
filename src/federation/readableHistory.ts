/** Events of a long history that are shown from its beginning, and from its end. */
const FIRST_EVENTS = 20;
const LAST_EVENTS = 300;
/** Characters of one payload; what is longer says little more. */
const PAYLOAD_CHARACTERS = 20_000;
const ATTRIBUTES = 'EventAttributes';

/**
 * A workflow's history as people can read it: events with their type, times as ISO 8601, payloads as what they hold, and
 * of a long history the beginning and the end.
 * @param history as Temporal's client fetches it, a decoded protobuf message
 */
export function readableHistory(history: { events?: readonly object[] | null }): { events: unknown[] } {
  const events = history.events ?? [];
  const left = events.length - FIRST_EVENTS - LAST_EVENTS;
  if (left <= 0) return { events: events.map(readableEvent) };
  return {
    events: [
      ...events.slice(0, FIRST_EVENTS).map(readableEvent),
      `${left} events are left out here`,
      ...events.slice(-LAST_EVENTS).map(readableEvent),
    ],
  };
}

/** An event has attributes of one kind, which tell its type. */
function readableEvent(event: object): object {
  const { eventType: _number, ...members } = readable(event) as Record<string, unknown>;
  const attributes = Object.keys(members).find((name) => name.endsWith(ATTRIBUTES));
  return { ...(attributes === undefined ? {} : { type: attributes.slice(0, -ATTRIBUTES.length) }), ...members };
}

function readable(value: unknown): unknown {
  if (value instanceof Uint8Array) return `(${value.length} bytes)`;
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value !== 'object' || value === null) return value;
  if (isLong(value)) return value.toString(10);
  const { metadata, data, seconds, nanos } = value as Record<string, unknown>;
  const encoding = (metadata as { encoding?: unknown } | null | undefined)?.encoding;
  if (encoding instanceof Uint8Array) return payload(decoded(encoding), data);
  if (isLong(seconds) && typeof nanos === 'number') return timeOrDuration(Number(seconds.toString(10)), nanos);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== null && member !== undefined)
      .map(([name, member]) => [name, readable(member)]),
  );
}

/** A 64-bit number of protobuf, in two halves. */
interface Long {
  low: number;
  toString(radix?: number): string;
}

function isLong(value: unknown): value is Long {
  return typeof value === 'object' && value !== null && 'low' in value && 'high' in value && 'unsigned' in value;
}

/** Protobuf has times and durations in the same form; no duration here is longer than a year. */
function timeOrDuration(seconds: number, nanos: number): string {
  const ms = seconds * 1000 + Math.round(nanos / 1e6);
  return seconds > 365 * 24 * 3600 ? new Date(ms).toISOString() : `${ms / 1000}s`;
}

/** What Temporal's data converter made of a value (encoding json/plain); of others, which may be encrypted, their size. */
function payload(encoding: string, data: unknown): unknown {
  if (!(data instanceof Uint8Array)) return null;
  if (encoding !== 'json/plain') return `(${encoding}, ${data.length} bytes)`;
  const text = decoded(data);
  if (text.length > PAYLOAD_CHARACTERS) return `${text.slice(0, PAYLOAD_CHARACTERS)}… (${text.length} characters)`;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function decoded(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
