import type { Payload, PayloadCodec } from '@temporalio/common';
import proto from '@temporalio/proto';
import { FederatorError } from '../contract/errors.js';
import { NONCE_BYTES, TAG_BYTES, type KeyRing } from './keyRing.js';

/** `<id>:<base64 of 32 bytes>`, several separated by commas, the newest first; unset: payloads are readable. */
export const PAYLOAD_KEYS = 'SPIRE_FEDERATOR_PAYLOAD_KEYS';

/** As the encryption samples of all Temporal SDKs name them, so that their codecs can read these payloads too. */
const ENCODING = 'encoding';
const ENCRYPTED = 'binary/encrypted';
const KEY_ID = 'encryption-key-id';

const { Payload: ProtoPayload } = proto.temporal.api.common.v1;

/**
 * Encrypts whatever workflows are given, answer and are told, between this process and Temporal. Encrypted is the whole
 * payload, metadata included; its data is then nonce (12 bytes), ciphertext and tag (16 bytes).
 */
export class EncryptionCodec implements PayloadCodec {
  /** @param keys undefined: nothing is encrypted, and what is encrypted cannot be read */
  constructor(readonly keys: KeyRing | undefined) {}

  async encode(payloads: Payload[]): Promise<Payload[]> {
    const { keys } = this;
    return keys === undefined ? payloads : payloads.map((payload) => encrypt(keys, payload));
  }

  /**
   * What is not encrypted stays as it is, so that encryption can be switched on while workflows run.
   * @throws FederatorError PayloadUnreadable
   */
  async decode(payloads: Payload[]): Promise<Payload[]> {
    return payloads.map((payload) => this.decrypt(payload));
  }

  private decrypt(payload: Payload): Payload {
    if (text(payload.metadata?.[ENCODING]) !== ENCRYPTED) return payload;
    const keyId = text(payload.metadata?.[KEY_ID]);
    const { keys } = this;
    if (keys === undefined || !keys.has(keyId)) throw noKey(keyId, keys);
    try {
      return ProtoPayload.decode(keys.decrypt({ keyId, ...parts(payload.data ?? new Uint8Array()) }));
    } catch (error) {
      throw new FederatorError(
        'PayloadUnreadable',
        `A payload cannot be decrypted with key ${keyId} of ${PAYLOAD_KEYS}: it was changed, or the key is another one of that ID. Give this process the same keys as the worker.`,
        { cause: error },
      );
    }
  }
}

function encrypt(keys: KeyRing, payload: Payload): Payload {
  const { keyId, nonce, tag, bytes } = keys.encrypt(ProtoPayload.encode(payload).finish());
  return {
    metadata: { [ENCODING]: Buffer.from(ENCRYPTED), [KEY_ID]: Buffer.from(keyId) },
    data: Buffer.concat([nonce, bytes, tag]),
  };
}

function parts(data: Uint8Array) {
  const end = data.length - TAG_BYTES;
  if (end < NONCE_BYTES) throw new Error(`${data.length} bytes are less than a nonce and a tag`);
  return { nonce: data.subarray(0, NONCE_BYTES), bytes: data.subarray(NONCE_BYTES, end), tag: data.subarray(end) };
}

function noKey(keyId: string, keys: KeyRing | undefined): FederatorError {
  const what = keyId === '' ? 'A payload is encrypted by somebody else' : `A payload is encrypted with key ${keyId}`;
  const why =
    keys === undefined
      ? `and ${PAYLOAD_KEYS} is not set here. Set it as it is set for the worker.`
      : `which is not among those of ${PAYLOAD_KEYS} here (${keys.ids.join(', ')}). Add it behind the others.`;
  return new FederatorError('PayloadUnreadable', `${what}, ${why}`);
}

function text(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? []).toString('utf8');
}
