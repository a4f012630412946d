import { gzipSync } from 'node:zlib';
import type { DumpedPart, MissingPiece } from '../contract/sysdump.js';

/** One text of a bug report. */
export interface DumpedText {
  path: string;
  text: string;
  /** Whether its oldest lines may go where it is too long. */
  isLog?: boolean;
}

/** A log of fewer lines than this says nothing. */
const FEWEST_LINES = 50;

/** Packs texts, the most important first, into a limited space; what does not fit is cut, or left out and said to be. */
export function packTexts(
  texts: readonly DumpedText[],
  limitBytes: number,
  missing: readonly MissingPiece[],
): DumpedPart {
  const packed: Record<string, string> = {};
  const left: MissingPiece[] = [];
  let bytes = 0;
  for (const { path, text, isLog = false } of texts) {
    const fitted = fit(text, limitBytes - bytes, isLog);
    if (fitted === undefined) {
      left.push({
        what: path,
        why: `too large: ${text.length} characters; ask for less with --since, or more with --max-size`,
      });
      continue;
    }
    if (fitted.text.length < text.length)
      left.push({
        what: `the beginning of ${path}`,
        why: `too large: its newest ${fitted.text.length} of ${text.length} characters are there`,
      });
    packed[path] = fitted.text;
    bytes += fitted.bytes;
  }
  return {
    ...(Object.keys(packed).length === 0 ? {} : { packed: gzipSync(JSON.stringify(packed)).toString('base64') }),
    missing: [...missing, ...left],
  };
}

function fit(text: string, limitBytes: number, isLog: boolean): { text: string; bytes: number } | undefined {
  let lines: string[] | undefined;
  for (let fitted = text; ;) {
    const bytes = gzipSync(fitted).length;
    if (bytes <= limitBytes) return { text: fitted, bytes };
    if (!isLog) return undefined;
    lines ??= text.split('\n');
    if (lines.length <= FEWEST_LINES) return undefined;
    // By what is over, and a little more, as lines do not all compress alike.
    lines = lines.slice(-Math.max(FEWEST_LINES, Math.floor((lines.length * Math.max(limitBytes, 0) * 0.9) / bytes)));
    fitted = lines.join('\n');
  }
}
