const KEY = 'spire-federator-token';
const UNREACHABLE = 'The API cannot be reached; what is shown is what was known before.';

/** What the API refused, or could not do. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/**
 * Asks the API and reads its JSON.
 * @param {string} path below /v1, e.g. "federations"
 * @param {{ method?: string, body?: unknown }} [options]
 * @throws {ApiError} status 0: the API cannot be reached
 */
export async function api(path, { method = 'GET', body } = {}) {
  const response = await ask(path, {
    method,
    headers: body === undefined ? {} : { 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return response.json();
}

/**
 * Follows server-sent events; EventSource cannot send a token.
 * @param {string} path below /v1
 * @param {AbortSignal} signal
 * @yields {{ event: string, data: unknown }}
 * @throws {ApiError} status 0: the stream broke off
 */
export async function* events(path, signal) {
  const { body } = await ask(path, { headers: {}, signal });
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ''; ;) {
    const { value, done } = await reader.read().catch((error) => {
      throw signal.aborted ? error : new ApiError(0, UNREACHABLE);
    });
    if (done) return;
    const blocks = (text + value).split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      // Only \n ends a line of the API's; what else does in a regular expression may be in the data (U+2028).
      const lines = block.split('\n');
      const [event, data] = ['event: ', 'data: '].map((field) =>
        lines.find((line) => line.startsWith(field))?.slice(field.length),
      );
      if (event !== undefined && data !== undefined) yield { event, data: JSON.parse(data) };
    }
  }
}

async function ask(path, { headers, ...options }) {
  let response;
  try {
    response = await fetch(new URL(`v1/${path}`, document.baseURI), {
      ...options,
      headers: { ...headers, authorization: `Bearer ${token.get()}` },
      credentials: 'omit',
      cache: 'no-store',
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, UNREACHABLE);
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new ApiError(response.status, problem.detail ?? `The API answered with HTTP ${response.status}.`);
}
