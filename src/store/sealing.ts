import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { FederatorError } from '../contract/errors.js';

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
/** As NIST SP 800-38D advises for GCM. */
const NONCE_BYTES = 12;

export const sealedSchema = z.strictObject({
  keyId: z.string(),
  nonce: z.base64(),
  tag: z.base64(),
  text: z.base64(),
});
/** A text that only a holder of the key can read or change. */
export type Sealed = z.infer<typeof sealedSchema>;

/** Keys by their IDs. New texts are sealed with the first; the others are there for what was sealed before. */
export class KeyRing {
  private constructor(private readonly keys: ReadonlyMap<string, Buffer>) {}

  /**
   * @param text `<id>:<32 bytes in base64>`, several separated by commas, the newest first
   * @param variable where it comes from, for messages
   * @throws FederatorError InvalidInput
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

  /** @param context what the text belongs to: sealed for one thing, it cannot be opened as another's */
  seal(text: string, context: string): Sealed {
    const [[keyId, key] = ['', Buffer.alloc(0)]] = this.keys;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(Buffer.from(context));
    const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    const base64 = (bytes: Buffer) => bytes.toString('base64');
    return { keyId, nonce: base64(nonce), tag: base64(cipher.getAuthTag()), text: base64(sealed) };
  }

  /** @throws FederatorError StoreUnavailable when its key is not here or it was changed */
  open({ keyId, nonce, tag, text }: Sealed, context: string): string {
    const key = this.keys.get(keyId);
    if (key === undefined) {
      throw new FederatorError(
        'StoreUnavailable',
        `${context} is sealed with key ${keyId}, which is not among ${[...this.keys.keys()].join(', ')}. Add it behind the others.`,
      );
    }
    try {
      const decipher = createDecipheriv(ALGORITHM, key, Buffer.from(nonce, 'base64'), { authTagLength: 16 })
        .setAAD(Buffer.from(context))
        .setAuthTag(Buffer.from(tag, 'base64'));
      return decipher.update(Buffer.from(text, 'base64'), undefined, 'utf8') + decipher.final('utf8');
    } catch (error) {
      throw new FederatorError(
        'StoreUnavailable',
        `${context} cannot be opened with key ${keyId}: it was changed, or the key is another one of that ID. Onboard it again, or restore the key.`,
        { cause: error },
      );
    }
  }
}
