import { createHmac } from 'node:crypto';
import { lookup as resolve, type LookupAddress, type LookupOptions } from 'node:dns';
import { getProxyForUrl } from 'proxy-from-env';
import { Agent, ProxyAgent, request } from 'undici';
import { FederatorError } from '../contract/errors.js';
import type { NotificationBody } from '../federation/notification.js';
import { isAllowedAddress, type WebhookSettings } from './webhookSettings.js';

/** How long a receiver may take in all; one that hangs holds up nothing else. */
const TIMEOUT_MS = 10_000;
/** Answers after which another attempt makes sense: too early, too many, or the receiver's own trouble. */
const PASSING = new Set([408, 425, 429]);

/**
 * Sends a notification. Redirects are not followed: they would lead the signature, and what is told, elsewhere.
 * @throws FederatorError WebhookUnreachable when another attempt may help, WebhookRefused when none will; neither names
 *   more of the URL than its host
 */
export async function sendWebhook(
  { url, secret, format }: WebhookSettings,
  body: NotificationBody,
  { signal, timeoutMs = TIMEOUT_MS }: { signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<void> {
  const text = JSON.stringify(format === 'slack' ? { text: body.text } : body);
  const proxy = getProxyForUrl(url.href);
  const dispatcher = proxy === '' ? new Agent({ connect: { lookup: allowedOnly } }) : new ProxyAgent(proxy);
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await request(url, {
      method: 'POST',
      dispatcher,
      headers: {
        'content-type': 'application/json',
        'user-agent': 'spire-federator',
        'spire-federator-delivery': body.id,
        ...(secret === undefined ? {} : { 'spire-federator-signature': signature(secret, text, Date.now()) }),
      },
      body: text,
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    // What it says is of no interest, and may be without end; that it is cut off is no error.
    response.body.on('error', () => undefined).destroy();
    const { statusCode } = response;
    if (statusCode >= 200 && statusCode < 300) return;
    throw refusal(url, statusCode);
  } catch (error) {
    if (error instanceof FederatorError || signal?.aborted === true) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const why = timeout.aborted ? `no answer in ${timeoutMs / 1000} s` : (code ?? message);
    if (code === NOT_ALLOWED)
      throw new FederatorError('WebhookRefused', `The webhook at ${url.host} is not called: ${message}.`);
    throw new FederatorError('WebhookUnreachable', `The webhook at ${url.host} cannot be reached: ${why}.`);
  } finally {
    await dispatcher.destroy();
  }
}

function refusal(url: URL, statusCode: number): FederatorError {
  const answered = `The webhook at ${url.host} answers HTTP ${statusCode}`;
  if (statusCode >= 500 || PASSING.has(statusCode)) return new FederatorError('WebhookUnreachable', `${answered}.`);
  const hint = statusCode < 400 ? 'Redirects are not followed: give the address it leads to' : 'Correct its address';
  return new FederatorError('WebhookRefused', `${answered}. ${hint}, where the worker has it.`);
}

/**
 * `t=<seconds since the Unix epoch>,v1=<HMAC-SHA-256, hex, over "<t>.<body>">`: the time is signed, too, so that a
 * receiver can refuse what somebody recorded and sends again.
 */
export function signature(secret: string, body: string, now: number): string {
  const time = Math.floor(now / 1000);
  return `t=${time},v1=${createHmac('sha256', secret).update(`${time}.${body}`).digest('hex')}`;
}

const NOT_ALLOWED = 'ADDRESS_NOT_ALLOWED';
type Found = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void;

/** Resolves a name, and refuses addresses to which nothing is to be sent, whatever DNS says. */
function allowedOnly(host: string, options: LookupOptions, found: Found): void {
  resolve(host, options, (error, address, family) => {
    const addresses = typeof address === 'string' ? [address] : (address ?? []).map((each) => each.address);
    const refused = addresses.find((each) => !isAllowedAddress(each));
    if (error === null && refused !== undefined)
      found(Object.assign(new Error(`its name leads to ${refused}`), { code: NOT_ALLOWED }), '');
    else found(error, address, family);
  });
}
