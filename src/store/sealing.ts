import { z } from 'zod';
import { FederatorError } from '../contract/errors.js';
import type { KeyRing } from '../encryption/keyRing.js';

export const sealedSchema = z.strictObject({
  keyId: z.string(),
  nonce: z.base64(),
  tag: z.base64(),
  text: z.base64(),
});
/** A text that only a holder of the key can read or change. */
export type Sealed = z.infer<typeof sealedSchema>;

/** @param context what the text belongs to: sealed for one thing, it cannot be opened as another's */
export function seal(keys: KeyRing, text: string, context: string): Sealed {
  const { keyId, nonce, tag, bytes } = keys.encrypt(Buffer.from(text), context);
  const base64 = (each: Uint8Array) => Buffer.from(each).toString('base64');
  return { keyId, nonce: base64(nonce), tag: base64(tag), text: base64(bytes) };
}

/** @throws FederatorError StoreUnavailable when its key is not here or it was changed */
export function open(keys: KeyRing, { keyId, nonce, tag, text }: Sealed, context: string): string {
  if (!keys.has(keyId)) {
    throw new FederatorError(
      'StoreUnavailable',
      `${context} is sealed with key ${keyId}, which is not among ${keys.ids.join(', ')}. Add it behind the others.`,
    );
  }
  try {
    const bytes = (each: string) => Buffer.from(each, 'base64');
    return keys.decrypt({ keyId, nonce: bytes(nonce), tag: bytes(tag), bytes: bytes(text) }, context).toString('utf8');
  } catch (error) {
    throw new FederatorError(
      'StoreUnavailable',
      `${context} cannot be opened with key ${keyId}: it was changed, or the key is another one of that ID. Onboard it again, or restore the key.`,
      { cause: error },
    );
  }
}
