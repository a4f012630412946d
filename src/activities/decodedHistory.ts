import type { Payload, PayloadCodec } from '@temporalio/common';

/**
 * A history with its payloads as its workflow's client would be given them: Temporal's client fetches histories as they
 * are kept. What cannot be decoded, for want of a key, stays as it is.
 * @param message any part of a decoded protobuf message
 */
export async function decodedHistory<T>(message: T, codecs: readonly PayloadCodec[]): Promise<T> {
  return (await decoded(message, codecs)) as T;
}

async function decoded(value: unknown, codecs: readonly PayloadCodec[]): Promise<unknown> {
  if (Array.isArray(value)) return Promise.all(value.map((each) => decoded(each, codecs)));
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (isPayload(value)) return decodedPayload(value, codecs);
  // 64-bit numbers are objects with methods; only messages hold payloads.
  if ('unsigned' in value) return value;
  const members = Object.entries(value).map(async ([name, member]) => [name, await decoded(member, codecs)] as const);
  return Object.fromEntries(await Promise.all(members));
}

async function decodedPayload(payload: Payload, codecs: readonly PayloadCodec[]): Promise<Payload> {
  try {
    let payloads = [payload];
    for (const codec of codecs.toReversed()) payloads = await codec.decode(payloads);
    return payloads[0] ?? payload;
  } catch {
    // The report says of such a payload how it is encoded.
    return payload;
  }
}

function isPayload(value: object): value is Payload {
  const { metadata } = value as { metadata?: { encoding?: unknown } | null };
  return metadata?.encoding instanceof Uint8Array;
}
