import { createHash } from 'node:crypto';
import {
  applyEdits,
  findNodeAtLocation,
  getNodeValue,
  modify,
  parse,
  parseTree,
  printParseErrorCode,
  type JSONPath,
  type ParseError,
} from 'jsonc-parser';
import { FederatorError } from '../contract/errors.js';
import {
  durationSeconds,
  sameProfile,
  type EndpointProfile,
  type EndpointSettings,
  type FederatesWith,
  type ServerConf,
  type WantedFederation,
} from '../contract/serverConf.js';

/** One replacement in a text. */
export interface TextSplice {
  offset: number;
  removed: string;
  inserted: string;
}

/**
 * How to put a server.conf back. Kept in an annotation beside the file, so it holds nothing of the file outside
 * `server.federation`: the rest may hold database passwords.
 */
export interface ServerConfRecord {
  /** The federation for which the engine writes. */
  federation?: string;
  /** Of the text that was written: while it is still so, the splice gives back the very bytes from before. */
  sha256: string;
  splice: TextSplice;
  /** The endpoint as it was set up: others may have edited it since. Absent in a record of an older engine. */
  endpoint?: EndpointSettings;
  /** What stood where the engine wrote, for when others have edited the file since. In the order of writing. */
  before: {
    path: string[];
    value: unknown;
    absent: boolean;
    /** The engine took it out, rather than writing something there. */
    removed?: true;
  }[];
}

type Json = Record<string, unknown>;

/**
 * Reads a server.conf in JSON.
 * @throws FederatorError ServerConfUnreadable when it is not JSON (SPIRE also takes HCL), or names no trust domain
 */
export function readServerConf(text: string): ServerConf {
  const root = parseConf(text);
  const server = block(root['server']);
  const trustDomain = server?.['trust_domain'];
  if (typeof trustDomain !== 'string' || trustDomain === '') {
    throw new FederatorError('ServerConfUnreadable', 'server.conf has no server.trust_domain.');
  }
  const federation = block(server?.['federation']);
  const endpoint = block(federation?.['bundle_endpoint']);
  const peers = block(federation?.['federates_with']) ?? {};
  return {
    trustDomain,
    ...(endpoint === undefined ? {} : { bundleEndpoint: readEndpoint(endpoint) }),
    federatesWith: Object.fromEntries(Object.entries(peers).map(([key, value]) => [key, readPeer(value)])),
    ...(Object.keys(server ?? {})[0] === 'federation' ? { federationFirst: true } : {}),
  };
}

/**
 * Decides the text that has the wanted federation settings and nothing else changed, byte for byte. Peers that the
 * engine wrote earlier and that are no longer wanted go; those of others stay.
 * @param record what an earlier call returned for this file
 * @throws FederatorError ServerConfUnreadable
 */
export function planServerConf(
  text: string,
  record: ServerConfRecord | undefined,
  wanted: WantedFederation,
): { text: string; record: ServerConfRecord; changed: boolean } {
  readServerConf(text);
  const base = record === undefined ? text : restoreServerConf(text, record).text;
  const before: ServerConfRecord['before'] = [];
  const next = writeWanted(base, wanted, before);
  const changed = !sameValue(parseConf(next), parseConf(text));
  if (!changed && record !== undefined) return { text, record, changed };
  const written = changed ? next : text;
  const { address, port, profile } = wanted.bundleEndpoint;
  // Whether https_spiffe is said or left to be the default makes no difference, and none to the record.
  const endpoint = { address, port, ...(profile?.type === 'https_web' ? { profile } : {}) };
  return {
    text: written,
    record: { sha256: sha256(written), splice: spliceBetween(written, base), endpoint, before },
    changed,
  };
}

/**
 * Takes the engine's settings out again: the very bytes from before while nobody edited the file since (`exact`),
 * otherwise what stood there is put back and what others changed stays.
 * @throws FederatorError ServerConfUnreadable
 */
export function restoreServerConf(text: string, record: ServerConfRecord): { text: string; exact: boolean } {
  if (sha256(text) === record.sha256) return { text: applySplice(text, record.splice), exact: true };
  let restored = text;
  for (const { path, value, absent, removed = false } of [...record.before].reverse()) {
    const location = resolvePath(restored, path);
    if (location === undefined) continue;
    const node = findNodeAtLocation(parseTree(restored) ?? never(), location);
    // Where others took out what the engine wrote, or wrote where it took something out, that is theirs.
    if ((node === undefined) !== removed) continue;
    if (node === undefined) {
      restored = edit(restored, location, value);
      continue;
    }
    // A block the engine made and others have put something into since is theirs now.
    if (absent && node.type === 'object' && (node.children?.length ?? 0) > 0 && !isLeaf(path)) continue;
    restored = edit(restored, location, absent ? undefined : value);
  }
  return { text: restored, exact: false };
}

/**
 * A record by which entries of `federates_with` that others wrote become the engine's: it may change them, and a
 * restore takes them out. The file stays as it is.
 * @param record of what the engine has written into it already
 * @throws FederatorError ServerConfUnreadable
 */
export function adoptServerConf(
  text: string,
  trustDomains: readonly string[],
  record?: ServerConfRecord,
): ServerConfRecord {
  const { federatesWith } = readServerConf(text);
  const known = record === undefined ? [] : recordedPeers(record);
  const paths = trustDomains
    .filter((trustDomain) => federatesWith[trustDomain] !== undefined && !known.includes(trustDomain))
    .map((trustDomain) => ['server', 'federation', 'federates_with', trustDomain]);
  const before = paths.map((path) => ({ path, value: null, absent: true }));
  // The file was edited since the record was made, so what stands in it goes by paths anyhow.
  if (record !== undefined) return { ...record, before: [...record.before, ...before] };
  let base = text;
  for (const path of paths) base = edit(base, resolvePath(base, path) ?? never(), undefined);
  return { sha256: sha256(text), splice: spliceBetween(text, base), before };
}

/** Trust domains of the peers that the engine wrote. */
export function recordedPeers(record: ServerConfRecord): string[] {
  return record.before
    .filter(({ path }) => path.length === 4 && path[2] === 'federates_with')
    .map(({ path }) => path[3] ?? '');
}

/** The one replacement that turns `before` into `after`, as short as a common beginning and end allow. */
export function spliceBetween(before: string, after: string): TextSplice {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let end = 0;
  while (end < shorter - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end++;
  return {
    offset: start,
    removed: before.slice(start, before.length - end),
    inserted: after.slice(start, after.length - end),
  };
}

/** @throws FederatorError ServerConfChanged when the text to be replaced is not there */
export function applySplice(text: string, { offset, removed, inserted }: TextSplice): string {
  if (text.slice(offset, offset + removed.length) !== removed) {
    throw new FederatorError('ServerConfChanged', 'server.conf was edited by somebody else meanwhile.');
  }
  return text.slice(0, offset) + inserted + text.slice(offset + removed.length);
}

function writeWanted(base: string, wanted: WantedFederation, before: ServerConfRecord['before']): string {
  const { address, port, refreshHintSeconds, profile } = wanted.bundleEndpoint;
  const endpoint = readServerConf(base).bundleEndpoint;
  let text = base;
  const set = (path: string[], value: unknown): void => {
    const node = nodeAt(text, path);
    before.push({
      path,
      value: node === undefined ? null : getNodeValue(node),
      absent: node === undefined,
      ...(value === undefined ? { removed: true } : {}),
    });
    text = edit(text, resolvePath(text, path) ?? never(), value);
  };
  const ensure = (path: string[]): void => {
    if (nodeAt(text, path) === undefined) set(path, {});
  };
  ensure(['server', 'federation']);
  ensure(['server', 'federation', 'bundle_endpoint']);
  const at = (key: string): string[] => ['server', 'federation', 'bundle_endpoint', key];
  if (endpoint?.address !== address) set(at('address'), address);
  if (endpoint?.port !== port) set(at('port'), port);
  if (durationSeconds(endpoint?.refreshHint) !== refreshHintSeconds) set(at('refresh_hint'), `${refreshHintSeconds}s`);
  if (profile !== undefined && !sameProfile(endpoint?.profile, profile)) {
    // SPIRE takes the deprecated way of saying it or the other, not both.
    if (nodeAt(text, at('acme')) !== undefined) set(at('acme'), undefined);
    set(at('profile'), profileValue(profile));
  }
  const peers = Object.entries(wanted.federatesWith);
  if (peers.length > 0) ensure(['server', 'federation', 'federates_with']);
  for (const [trustDomain, peer] of peers) {
    const path = ['server', 'federation', 'federates_with', trustDomain];
    const node = nodeAt(text, path);
    if (node === undefined || !sameValue(readPeer(getNodeValue(node)), peer)) set(path, peerValue(peer));
    // It stood there already, by somebody else's hand or an earlier one of ours: still a peer of ours to know about.
    else before.push({ path, value: getNodeValue(node), absent: false });
  }
  return text;
}

function peerValue({ bundleEndpointUrl, profile }: FederatesWith): Json {
  return {
    bundle_endpoint_url: bundleEndpointUrl,
    bundle_endpoint_profile:
      profile.type === 'https_spiffe'
        ? { https_spiffe: { endpoint_spiffe_id: profile.endpointSpiffeId } }
        : { https_web: {} },
  };
}

function readEndpoint(endpoint: Json): NonNullable<ServerConf['bundleEndpoint']> {
  const { address, port, refresh_hint: refreshHint } = endpoint;
  const profile = readProfile(endpoint);
  return {
    ...(typeof address === 'string' ? { address } : {}),
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(typeof refreshHint === 'string' ? { refreshHint } : {}),
    ...(profile === undefined ? {} : { profile }),
  };
}

type Endpoint = NonNullable<ServerConf['bundleEndpoint']>;

/** SPIRE also takes `acme` outside of a profile, which it deprecates. */
function readProfile(endpoint: Json): Endpoint['profile'] {
  const profile = block(endpoint['profile']);
  const acme = block(endpoint['acme']);
  if (profile === undefined) return acme === undefined ? undefined : readWeb({ acme });
  const [type = ''] = Object.keys(profile);
  if (type === 'https_spiffe') return { type };
  if (type === 'https_web') return readWeb(block(profile[type]) ?? {});
  return { type, unreadable: `there is no profile ${type}` };
}

function readWeb(web: Json): Endpoint['profile'] {
  const type = 'https_web';
  const text = (from: Json, key: string) => (typeof from[key] === 'string' ? from[key] : '');
  const acme = block(web['acme']);
  if (acme !== undefined) {
    const directoryUrl = text(acme, 'directory_url');
    return {
      type,
      acme: {
        ...(directoryUrl === '' ? {} : { directoryUrl }),
        domainName: text(acme, 'domain_name'),
        email: text(acme, 'email'),
        tosAccepted: acme['tos_accepted'] === true,
      },
    };
  }
  const files = block(web['serving_cert_file']);
  if (files === undefined) return { type, unreadable: 'https_web has neither acme nor serving_cert_file' };
  const fileSyncInterval = text(files, 'file_sync_interval');
  return {
    type,
    servingCertFile: {
      certFilePath: text(files, 'cert_file_path'),
      keyFilePath: text(files, 'key_file_path'),
      ...(fileSyncInterval === '' ? {} : { fileSyncInterval }),
    },
  };
}

/**
 * The block stands in a list: as the first of an endpoint's keys, an object of objects would count for SPIRE, which
 * parses JSON as HCL, as a key of the endpoint itself, and it would not start.
 */
function profileValue(profile: EndpointProfile): Json {
  return { [profile.type]: [profileBlock(profile)] };
}

function profileBlock(profile: EndpointProfile): Json {
  if (profile.type === 'https_spiffe') return {};
  if ('acme' in profile) {
    const { directoryUrl, domainName, email, tosAccepted } = profile.acme;
    return {
      acme: {
        ...(directoryUrl === undefined ? {} : { directory_url: directoryUrl }),
        domain_name: domainName,
        email,
        tos_accepted: tosAccepted,
      },
    };
  }
  const { certFilePath, keyFilePath, fileSyncInterval } = profile.servingCertFile;
  return {
    serving_cert_file: {
      cert_file_path: certFilePath,
      key_file_path: keyFilePath,
      ...(fileSyncInterval === undefined ? {} : { file_sync_interval: fileSyncInterval }),
    },
  };
}

function readPeer(value: unknown): FederatesWith | { unreadable: string } {
  const peer = block(value);
  const url = peer?.['bundle_endpoint_url'];
  if (typeof url !== 'string') return { unreadable: 'it has no bundle_endpoint_url' };
  const profile = block(peer?.['bundle_endpoint_profile']);
  if (profile !== undefined && 'https_web' in profile)
    return { bundleEndpointUrl: url, profile: { type: 'https_web' } };
  const id = block(profile?.['https_spiffe'])?.['endpoint_spiffe_id'];
  if (typeof id !== 'string') return { unreadable: 'it has no known bundle_endpoint_profile' };
  return { bundleEndpointUrl: url, profile: { type: 'https_spiffe', endpointSpiffeId: id } };
}

/** SPIRE reads JSON as HCL does: a block may also be written as a list of one block. */
function block(value: unknown): Json | undefined {
  const inner: unknown = Array.isArray(value) ? value[0] : value;
  return typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? (inner as Json) : undefined;
}

function parseConf(text: string): Json {
  const errors: ParseError[] = [];
  const value: unknown = parse(text, errors, { disallowComments: true, allowTrailingComma: false });
  const [first] = errors;
  const root = block(value);
  if (first !== undefined || root === undefined) {
    const line = text.slice(0, first?.offset ?? 0).split('\n').length;
    const why = first === undefined ? 'it is no object' : `${printParseErrorCode(first.error)} in line ${line}`;
    throw new FederatorError(
      'ServerConfUnreadable',
      `server.conf is not JSON (${why}). The engine edits JSON only: write SPIRE server's configuration as JSON, or federate with an HCL one by hand.`,
    );
  }
  return root;
}

function nodeAt(text: string, path: string[]) {
  const location = resolvePath(text, path);
  const tree = parseTree(text);
  return location === undefined || tree === undefined ? undefined : findNodeAtLocation(tree, location);
}

/** Where a path leads, through blocks that are written as lists; undefined when a block on the way is not there. */
function resolvePath(text: string, path: string[]): JSONPath | undefined {
  const tree = parseTree(text) ?? never();
  const location: JSONPath = [];
  for (const [index, key] of path.entries()) {
    location.push(key);
    if (index === path.length - 1) return location;
    const node = findNodeAtLocation(tree, location);
    if (node === undefined) return undefined;
    if (node.type === 'array') location.push(0);
  }
  return location;
}

/** Sets or (undefined) removes a value, in the file's own indentation; a file on one line stays on one line. */
function edit(text: string, location: JSONPath, value: unknown): string {
  const indentation = /^([ \t]+)\S/m.exec(text)?.[1];
  const formatting =
    indentation === undefined
      ? {}
      : {
          formattingOptions: {
            insertSpaces: !indentation.startsWith('\t'),
            tabSize: indentation.startsWith('\t') ? 1 : indentation.length,
            eol: text.includes('\r\n') ? '\r\n' : '\n',
          },
        };
  return applyEdits(text, modify(text, location, value, formatting));
}

/** Whether a path leads to a setting or a peer, and not to a block that may hold others' settings. */
function isLeaf(path: string[]): boolean {
  return path.length === 4;
}

/** Equality of JSON values, whatever the order of keys. */
function sameValue(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = Object.entries(a);
  return (
    left.length === Object.keys(b).length &&
    left.every(([key, value]) => key in b && sameValue(value, (b as Json)[key]))
  );
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function never(): never {
  throw new FederatorError('Internal', 'A server.conf that was read cannot be read any more.');
}

const FEDERATION_PATH = ['server', 'federation'];

/**
 * `server.federation` of a server.conf as JSON text; "null" when there is none.
 * @throws FederatorError ServerConfUnreadable
 */
export function readFederationSection(text: string): string {
  parseConf(text);
  const node = nodeAt(text, FEDERATION_PATH);
  return JSON.stringify(node === undefined ? null : getNodeValue(node));
}

/**
 * `server.federation` as it stands in the text; undefined when there is none.
 * @throws FederatorError ServerConfUnreadable
 */
export function federationText(text: string): { offset: number; text: string } | undefined {
  parseConf(text);
  const node = nodeAt(text, FEDERATION_PATH);
  return node && { offset: node.offset, text: text.slice(node.offset, node.offset + node.length) };
}

/** Whether two texts are server.confs that differ in `server.federation` only. */
export function isSameOutsideFederation(one: string, other: string): boolean {
  const [a, b] = [one, other].map((text): Json | undefined => {
    const errors: ParseError[] = [];
    const root = block(parse(text, errors, { disallowComments: true, allowTrailingComma: false }));
    const { federation: _federation, ...server } = block(root?.['server']) ?? {};
    return errors.length > 0 || root === undefined ? undefined : { ...root, server };
  });
  return a !== undefined && b !== undefined && sameValue(a, b);
}

/**
 * The text with `server.federation` as it was remembered and nothing else changed.
 * @param section what readFederationSection returned
 * @throws FederatorError ServerConfUnreadable
 */
export function withFederationSection(text: string, section: string): string {
  const value = JSON.parse(section) as unknown;
  const node = nodeAt(text, FEDERATION_PATH);
  if (sameValue(node === undefined ? null : getNodeValue(node), value)) return text;
  return edit(text, resolvePath(text, FEDERATION_PATH) ?? never(), value ?? undefined);
}
