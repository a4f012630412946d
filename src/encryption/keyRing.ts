import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { FederatorError } from '../contract/errors.js';

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
/** As NIST SP 800-38D advises for GCM. */
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

/** What only a holder of the key can read or change. */
export interface Ciphertext {
  keyId: string;
  nonce: Uint8Array;
  tag: Uint8Array;
  bytes: Uint8Array;
}

/** Keys by their IDs. The first one encrypts; the others are there for what was encrypted before. */
export class KeyRing {
  /** Private to JavaScript too: whatever prints or logs a key ring must not print keys. */
  readonly #keys: ReadonlyMap<string, Buffer>;

  private constructor(keys: ReadonlyMap<string, Buffer>) {
    this.#keys = keys;
  }

  /**
   * @param text `<id>:<32 bytes in base64>`, several separated by commas, the newest first
   * @param variable where it comes from, for messages
   * @throws FederatorError InvalidInput; nothing of a key is in its message
   */
  static parse(text: string, variable: string): KeyRing {
    const keys = new Map<string, Buffer>();
    for (const [index, part] of text.split(',').entries()) {
      const [, id, encoded = ''] = /^\s*([\w-]+):([A-Za-z0-9+/]+=*)\s*$/.exec(part) ?? [];
      const key = Buffer.from(encoded, 'base64');
      if (id === undefined || key.length !== KEY_BYTES || keys.has(id)) {
        throw new FederatorError(
          'InvalidInput',
          `Key ${index + 1} of ${variable} is ${id !== undefined && keys.has(id) ? `a second one of ID ${id}` : 'not "<id>:<32 bytes in base64>"'}. Make one: echo "k1:$(openssl rand -base64 32)"`,
        );
      }
      keys.set(id, key);
    }
    return new KeyRing(keys);
  }

  /** Of all keys, that which encrypts first. */
  get ids(): string[] {
    return [...this.#keys.keys()];
  }

  has(keyId: string): boolean {
    return this.#keys.has(keyId);
  }

  /** @param context what it belongs to: encrypted for one thing, it cannot be read as another's */
  encrypt(plain: Uint8Array, context = ''): Ciphertext {
    const [[keyId, key] = ['', Buffer.alloc(0)]] = this.#keys;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(Buffer.from(context));
    const bytes = Buffer.concat([cipher.update(plain), cipher.final()]);
    return { keyId, nonce, tag: cipher.getAuthTag(), bytes };
  }

  /** @throws Error when it has no such key (see `has`), when it is another one of that ID, or what it encrypted was changed */
  decrypt({ keyId, nonce, tag, bytes }: Ciphertext, context = ''): Buffer {
    const decipher = createDecipheriv(ALGORITHM, this.#keys.get(keyId) ?? '', nonce, { authTagLength: TAG_BYTES })
      .setAAD(Buffer.from(context))
      .setAuthTag(tag);
    return Buffer.concat([decipher.update(bytes), decipher.final()]);
  }
}
