import { readFile } from 'node:fs/promises';
import { BlockList, isIP } from 'node:net';
import { FederatorError } from '../contract/errors.js';

/** Where a worker sends notifications. Holds secrets: the URL of a Slack webhook is one itself. */
export interface WebhookSettings {
  url: URL;
  /** Key of the signature; absent: notifications are not signed. */
  secret?: string;
  /** `json`: all of it; `slack`: the text only, as Slack wants it. */
  format: 'json' | 'slack';
}

const URL_VARIABLE = 'SPIRE_FEDERATOR_WEBHOOK_URL';
const SECRET_VARIABLE = 'SPIRE_FEDERATOR_WEBHOOK_SECRET';
const FORMAT_VARIABLE = 'SPIRE_FEDERATOR_WEBHOOK_FORMAT';
const SLACK_HOST = 'hooks.slack.com';
const SHORTEST_SECRET = 16;

/**
 * Addresses that nobody runs a webhook at and that clouds answer on with credentials of the machine: link-local ones and
 * those that are no machine's.
 */
const NEVER = new BlockList();
NEVER.addSubnet('0.0.0.0', 8, 'ipv4');
NEVER.addSubnet('169.254.0.0', 16, 'ipv4');
NEVER.addSubnet('224.0.0.0', 3, 'ipv4');
NEVER.addAddress('::', 'ipv6');
NEVER.addSubnet('fe80::', 10, 'ipv6');
NEVER.addSubnet('ff00::', 8, 'ipv6');
NEVER.addAddress('fd00:ec2::254', 'ipv6');

/** Whether notifications may go to an address. */
export function isAllowedAddress(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && !NEVER.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/**
 * Reads where notifications go, from the worker's environment or from files that it names (SPIRE_FEDERATOR_WEBHOOK_URL,
 * …_SECRET, each also as …_FILE, and …_FORMAT). Files are read each time, so that secrets can be renewed.
 * @returns undefined where they go nowhere
 * @throws FederatorError InvalidInput; no message has the URL or the secret in it
 */
export async function webhookSettings(
  environment: NodeJS.ProcessEnv = process.env,
): Promise<WebhookSettings | undefined> {
  const address = await valueOf(URL_VARIABLE, environment);
  if (address === undefined) return undefined;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || !['https:', 'http:'].includes(url.protocol)) throw invalid(`${URL_VARIABLE} is no URL.`);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (url.protocol === 'http:' && !isLoopback(host))
    throw invalid(
      `${URL_VARIABLE} must begin with https:// (http:// is for loopback only): what is told would be readable on the way.`,
    );
  if (url.username !== '' || url.password !== '')
    throw invalid(`${URL_VARIABLE} has a name or password in it. Sign notifications by ${SECRET_VARIABLE} instead.`);
  if (isIP(host) !== 0 && !isAllowedAddress(host))
    throw invalid(`${URL_VARIABLE} is a link-local, unspecified or multicast address, to which nothing is sent.`);
  const secret = await valueOf(SECRET_VARIABLE, environment);
  if (secret !== undefined && secret.length < SHORTEST_SECRET)
    throw invalid(`${SECRET_VARIABLE} is shorter than ${SHORTEST_SECRET} characters. Make one: openssl rand -hex 32`);
  const format = environment[FORMAT_VARIABLE] || (host === SLACK_HOST ? 'slack' : 'json');
  if (format !== 'json' && format !== 'slack')
    throw invalid(`${FORMAT_VARIABLE} is ${format}; it can be json or slack.`);
  return { url, format, ...(secret === undefined ? {} : { secret }) };
}

async function valueOf(name: string, environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  const [value, file] = [environment[name], environment[`${name}_FILE`]].map((each) => each || undefined);
  if (value !== undefined && file !== undefined) throw invalid(`Set either ${name} or ${name}_FILE, not both.`);
  if (file === undefined) return value;
  try {
    return (await readFile(file, 'utf8')).trim() || undefined;
  } catch (error) {
    throw invalid(`${name}_FILE: ${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function invalid(message: string): FederatorError {
  return new FederatorError('InvalidInput', message);
}
