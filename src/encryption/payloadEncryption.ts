import { fileURLToPath } from 'node:url';
import type { DataConverter } from '@temporalio/common';
import { KeyRing } from './keyRing.js';
import { EncryptionCodec, PAYLOAD_KEYS } from './payloadCodec.js';

/** How payloads pass between a client or a worker and Temporal. */
export interface PayloadEncryption {
  /** Whether new payloads are encrypted, with the messages of failures in them: for a worker that takes another bundle. */
  on: boolean;
  codec: EncryptionCodec;
  /** For clients and workers alike. */
  dataConverter: DataConverter;
}

/**
 * As SPIRE_FEDERATOR_PAYLOAD_KEYS says (see KeyRing); unset: payloads are readable, and none that is encrypted can be read.
 * @throws FederatorError InvalidInput
 */
export function payloadEncryption(environment: NodeJS.ProcessEnv = process.env): PayloadEncryption {
  const configured = environment[PAYLOAD_KEYS];
  const on = configured !== undefined && configured !== '';
  const codec = new EncryptionCodec(on ? KeyRing.parse(configured, PAYLOAD_KEYS) : undefined);
  return {
    on,
    codec,
    dataConverter: {
      payloadCodecs: [codec],
      // The messages of failures would stay readable otherwise.
      ...(on ? { failureConverterPath: fileURLToPath(new URL('./encodedFailures.cjs', import.meta.url)) } : {}),
    },
  };
}
