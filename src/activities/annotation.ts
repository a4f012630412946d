import { z } from 'zod';
import type { SpireServerRecord } from '../contract/control.js';
import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { SERVER_CONF_RECORD, SERVER_CONF_UNDO, SPIRE_SERVER_RECORD, SPIRE_SERVER_UNDO } from '../contract/names.js';
import type { ServerConfRecord } from '../spire/serverConf.js';
import type { TextUndo } from '../spire/serverConfUndo.js';

/** How to undo the edit of one change; kept on the ConfigMap, written together with the edit. */
export interface ServerConfUndo extends TextUndo {
  changeId: string;
  /** The record annotation as it was. */
  record: string | null;
}

/** How to undo the patch of one change; kept on SpireServer, written together with the patch. */
export interface SpireServerUndo extends Pick<SpireServerRecord, 'before' | 'written'> {
  changeId: string;
  /** The record annotation as it was. */
  record: string | null;
}

const splice = z.object({ offset: z.number(), removed: z.string(), inserted: z.string() });
const federation = z.looseObject({ bundleEndpoint: z.looseObject({}) });
const undo = { changeId: z.string(), record: z.string().nullable() };

const serverConfRecord = z.object({
  federation: z.string().optional(),
  sha256: z.string(),
  splice,
  endpoint: z.looseObject({ address: z.string(), port: z.number() }).optional(),
  before: z.array(
    z.object({
      path: z.array(z.string()),
      value: z.unknown().optional(),
      absent: z.boolean(),
      removed: z.literal(true).optional(),
    }),
  ),
});
const serverConfUndo = z.object({
  ...undo,
  splice,
  sha256: z.string().optional(),
  section: z.object({ offset: z.number(), sha256: z.string() }).optional(),
});
const spireServerRecord = z.object({
  federation: z.string(),
  before: z.looseObject({}).nullable(),
  written: federation,
  peers: z.array(z.string()),
});
const spireServerUndo = z.object({ ...undo, before: z.looseObject({}).nullable(), written: federation });

type Annotated = Pick<KubernetesObject, 'kind' | 'metadata'>;

/**
 * What the engine changed in server.conf, as an earlier edit left it on the ConfigMap; undefined where it changed nothing.
 * @throws FederatorError InvalidObject when it is not what the engine wrote
 */
export function readServerConfRecord(cluster: string, map: Annotated | undefined): ServerConfRecord | undefined {
  return read(cluster, map, SERVER_CONF_RECORD, serverConfRecord, ADOPT) as ServerConfRecord | undefined;
}

/** @throws FederatorError InvalidObject when it is not what the engine wrote */
export function readServerConfUndo(cluster: string, map: Annotated): ServerConfUndo | undefined {
  return read(cluster, map, SERVER_CONF_UNDO, serverConfUndo, COMPARE) as ServerConfUndo | undefined;
}

/**
 * What the engine changed in SpireServer; undefined where it changed nothing.
 * @throws FederatorError InvalidObject when it is not what the engine wrote
 */
export function readSpireServerRecord(cluster: string, server: Annotated | undefined): SpireServerRecord | undefined {
  return read(cluster, server, SPIRE_SERVER_RECORD, spireServerRecord, ADOPT) as SpireServerRecord | undefined;
}

/** @throws FederatorError InvalidObject when it is not what the engine wrote */
export function readSpireServerUndo(cluster: string, server: Annotated): SpireServerUndo | undefined {
  return read(cluster, server, SPIRE_SERVER_UNDO, spireServerUndo, COMPARE) as SpireServerUndo | undefined;
}

const ADOPT = 'then have the federation adopted anew: npm run start-workflow adopt -- --federation <name>';
const COMPARE = 'then compare by hand whether the federation settings are as they were before the change';

/** Anybody may edit an annotation. By one that is none of the engine's any more nothing can be put back. */
function read(
  cluster: string,
  object: Annotated | undefined,
  annotation: string,
  schema: z.ZodType,
  then: string,
): unknown {
  const text = object?.metadata.annotations?.[annotation];
  if (object === undefined || text === undefined) return undefined;
  const value = json(text);
  if (schema.safeParse(value).success) return value;
  const { kind, metadata } = object;
  const namespace = metadata.namespace === undefined ? '' : ` -n ${metadata.namespace}`;
  throw new FederatorError(
    'InvalidObject',
    `${cluster}: annotation ${annotation} of ${kind} ${metadata.name} is not what the engine wrote: somebody edited it. Put it back, or take it off (kubectl${namespace} annotate ${kind.toLowerCase()} ${metadata.name} ${annotation}-), ${then}.`,
  );
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
