import { FederatorError } from '../contract/errors.js';
import {
  applySplice,
  federationText,
  isSameOutsideFederation,
  restoreServerConf,
  sha256,
  spliceBetween,
  type ServerConfRecord,
  type TextSplice,
} from './serverConf.js';

/** How to turn the text that a change wrote back into the one it found. */
export interface TextUndo {
  splice: TextSplice;
  /** Of the text that the change wrote; absent in an undo of an older engine. */
  sha256?: string;
  /** Where `server.federation` began in it, and the digest of that part; absent where it was not there before. */
  section?: { offset: number; sha256: string };
}

/**
 * Notes how to undo an edit, while the text it makes is known.
 * @throws FederatorError ServerConfUnreadable
 */
export function textUndo(before: string, written: string): TextUndo {
  const section = federationText(before) === undefined ? undefined : federationText(written);
  return {
    splice: spliceBetween(written, before),
    sha256: sha256(written),
    ...(section === undefined ? {} : { section: { offset: section.offset, sha256: sha256(section.text) } }),
  };
}

/**
 * The text as it was before the change. What others have edited outside `server.federation` since stays, and where
 * the engine had written nothing before, so does what they edited in it.
 * @param written the record as the change wrote it, where the engine had none before
 * @throws FederatorError ServerConfChanged when others edited what the change wrote, ServerConfUnreadable
 */
export function undoneServerConf(text: string, undo: TextUndo, written: ServerConfRecord | undefined): string {
  const undone = spliced(text, undo);
  if (undone !== undefined) return undone;
  if (written !== undefined) return restoreServerConf(text, written).text;
  throw new FederatorError(
    'ServerConfChanged',
    'server.federation in server.conf was edited by somebody else after the change had written it. Put it right by hand: it holds what the change wrote, and their edit.',
  );
}

/** Undefined where the part that the change wrote is not as it left it. */
function spliced(text: string, { splice, sha256: digest, section }: TextUndo): string | undefined {
  if (digest === undefined) return blindlySpliced(text, splice);
  if (sha256(text) === digest) return applySplice(text, splice);
  const now = federationText(text);
  if (section === undefined || now === undefined || sha256(now.text) !== section.sha256) return undefined;
  // All that the change wrote is in this part, which others' edits have moved.
  return applySplice(text, { ...splice, offset: splice.offset + now.offset - section.offset });
}

/** Where it is not known what the text was, the outcome has to show that the place was right. */
function blindlySpliced(text: string, splice: TextSplice): string | undefined {
  if (text.slice(splice.offset, splice.offset + splice.removed.length) !== splice.removed) return undefined;
  const undone = applySplice(text, splice);
  return isSameOutsideFederation(text, undone) ? undone : undefined;
}
