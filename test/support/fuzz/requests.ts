import fc from 'fast-check';
import { hostileBody, hostileSegment, hostileText } from './hostile.js';
import type { OpenApi, Operation, Parameter } from './openApi.js';
import { schemaValues, type Known } from './schemaValues.js';

/** A request as it goes over the wire. */
export interface FuzzRequest {
  method: string;
  /** Path and query, encoded or badly encoded as they are sent. */
  target: string;
  headers: Record<string, string>;
  body?: string | Buffer | undefined;
  /** Name of the token that it carries. */
  token: string;
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND'];
const JSON_TYPE = 'application/json';
const TYPES = [
  'text/xml',
  'application/x-www-form-urlencoded',
  'multipart/form-data',
  'application/json; charset=x',
  ';',
];
/** Few keys, so that they come again with another body. */
const KEYS = ['key-1', 'key-2', 'key-3'];
/** Of so many requests one is odd in this or that respect. */
const ODD_OF = 12;

/**
 * Requests for the operations of a document: most of them nearly right, each wrong in its own way.
 * @param tokens Authorization headers by what they are
 * @param usual names of those that together come more often than all others; one that is named twice, twice as often
 */
export function fuzzRequests(
  api: OpenApi,
  known: Known,
  tokens: Readonly<Record<string, string>>,
  usual: readonly string[],
): fc.Arbitrary<FuzzRequest> {
  const values = schemaValues(api, known);
  const mostly = <T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>) =>
    fc.oneof({ weight: ODD_OF, arbitrary: usual }, { weight: 1, arbitrary: odd });
  const text = (parameter: Parameter) => values(parameter.schema, parameter.name).map(asText);
  const others = Object.keys(tokens).filter((name) => !usual.includes(name));
  const token = fc.oneof(
    { weight: 4 * others.length, arbitrary: fc.constantFrom(...usual) },
    ...others.map(fc.constant),
  );

  const ofKind = ({ parameters }: Operation, kind: Parameter['in']) => parameters.filter((each) => each.in === kind);

  const path = (operation: Operation) => {
    const steps = ofKind(operation, 'path').map((each): [string, fc.Arbitrary<string>] => [
      each.name,
      mostly(text(each).map(encodeSegment), hostileSegment),
    ]);
    return fc
      .record(Object.fromEntries(steps))
      .map((given) => operation.path.replaceAll(/{(\w+)}/g, (_all, name: string) => given[name] ?? ''));
  };

  const query = (operation: Operation) => {
    const fields = Object.fromEntries(ofKind(operation, 'query').map((each) => [each.name, text(each)]));
    const usual = fc
      .record(fields, { requiredKeys: [] })
      .map((given) => Object.entries(given).map(([name, value]) => `${name}=${encodeSegment(value ?? '')}`));
    const odd = fc.constantFrom<string[]>(
      ['limit=1', 'limit=2'],
      ['limit[]=1'],
      ['__proto__[x]=1'],
      ['%zz'],
      ['x=%ff'],
      ['a'.repeat(4_096)],
    );
    return mostly(usual, odd).map((parts) => (parts.length === 0 ? '' : `?${parts.join('&')}`));
  };

  const headers = (operation: Operation) => {
    const told = ofKind(operation, 'header').map((each) => [
      each.name,
      each.name === 'idempotency-key'
        ? mostly(fc.constantFrom(...KEYS), hostileText.map(headerText))
        : text(each).map(headerText),
    ]);
    return fc.record(Object.fromEntries(told) as Record<string, fc.Arbitrary<string>>, { requiredKeys: [] });
  };

  const body = ({ body: schema }: Operation): fc.Arbitrary<{ type?: string; body?: string | Buffer }> => {
    const odd = fc.tuple(hostileBody, mostly(fc.constant(JSON_TYPE), fc.constantFrom(...TYPES)));
    const oddBody = odd.map(([content, type]) => ({ type, body: content }));
    if (schema === undefined) return mostly(fc.constant({}), oddBody);
    const usual = values(schema).map((value) => ({ type: JSON_TYPE, body: JSON.stringify(value) }));
    return fc.oneof(
      { weight: ODD_OF, arbitrary: usual },
      { weight: 2, arbitrary: oddBody },
      { weight: 1, arbitrary: fc.constant({}) },
      { weight: 1, arbitrary: fc.constantFrom(...TYPES).map((type) => ({ type, body: '{}' })) },
    );
  };

  return fc
    .constantFrom(...api.operations)
    .chain((operation) =>
      fc.record({
        method: mostly(fc.constant(operation.method), fc.constantFrom(...METHODS)),
        path: path(operation),
        query: query(operation),
        headers: headers(operation),
        sent: body(operation),
        token,
      }),
    )
    .map(({ method, path: at, query: asked, headers: told, sent, token: who }) => {
      const authorization = tokens[who] ?? '';
      return {
        method,
        target: at + asked,
        headers: {
          ...told,
          ...(authorization === '' ? {} : { authorization }),
          ...(sent.type === undefined ? {} : { 'content-type': sent.type }),
        },
        body: sent.body,
        token: who,
      };
    });
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function encodeSegment(text: string): string {
  // A lone surrogate cannot be encoded.
  return encodeURIComponent(Buffer.from(text).toString());
}

/** What Node lets into a header. */
function headerText(text: string): string {
  return text.replaceAll(/[^\x21-\x7e]/g, '?').slice(0, 4_096);
}
