import { fileURLToPath } from 'node:url';
import type { DataConverter } from '@temporalio/common';
import { KeyRing } from './keyRing.js';
import { EncryptionCodec, PAYLOAD_KEYS } from './payloadCodec.js';

/** How payloads pass between a client or a worker and Temporal. */
export interface PayloadEncryption {
  /** Whether new payloads are encrypted. */
  on: boolean;
  codec: EncryptionCodec;
  /** For clients and workers alike. */
  dataConverter: DataConverter;
  /** Name of the prebuilt bundle of src/workflows in dist/ that puts failures where `dataConverter` does. */
  workflowBundle: 'workflow-bundle.js' | 'workflow-bundle-encoded-failures.js';
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
    workflowBundle: on ? 'workflow-bundle-encoded-failures.js' : 'workflow-bundle.js',
  };
}
