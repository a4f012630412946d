import picocolors from 'picocolors';

type Stream = Pick<NodeJS.WriteStream, 'isTTY'>;

/**
 * Whether a stream gets colours: a terminal does, unless NO_COLOR or TERM=dumb is set; FORCE_COLOR has them everywhere.
 * A build server's CI variable, by which picocolors decides as well, makes no terminal of a file.
 */
export function hasColours({ isTTY }: Stream, { NO_COLOR, FORCE_COLOR, TERM }: NodeJS.ProcessEnv): boolean {
  if (NO_COLOR) return false;
  return Boolean(FORCE_COLOR) || (isTTY && TERM !== 'dumb');
}

/** Colours of standard output. */
export const pc = picocolors.createColors(hasColours(process.stdout, process.env));
/** Colours of standard error. */
export const errorColours = picocolors.createColors(hasColours(process.stderr, process.env));
