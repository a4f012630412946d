import fc from 'fast-check';
import { hostileNumber, hostileText, hostileValue } from './hostile.js';
import type { OpenApi, Schema } from './openApi.js';

/** Values that mean something to the API under test, by the name of the field or parameter. */
export type Known = Readonly<Record<string, readonly unknown[]>>;

/** Of so many values one is hostile. */
const HOSTILE_OF = 16;
const MANY = 3;

/** Values as a schema wants them, with a hostile one here and there: nothing, or one or two, of most bodies. */
export function schemaValues(api: OpenApi, known: Known): (schema: Schema, name?: string) => fc.Arbitrary<unknown> {
  return values;

  function values(given: Schema, name = ''): fc.Arbitrary<unknown> {
    const schema = api.resolved(given);
    const meaningful = known[name];
    const asTold = told(schema, name);
    return fc.oneof(
      ...(meaningful === undefined || schema.type === 'array'
        ? []
        : [{ weight: HOSTILE_OF, arbitrary: fc.constantFrom(...meaningful) }]),
      { weight: meaningful === undefined ? HOSTILE_OF : 2, arbitrary: asTold },
      { weight: 1, arbitrary: hostileFor(schema) },
    );
  }

  function told(schema: Schema, name: string): fc.Arbitrary<unknown> {
    if ('const' in schema) return fc.constant(schema.const);
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
    const options = schema.anyOf ?? schema.oneOf;
    if (options !== undefined) return fc.oneof(...options.map((each) => told(api.resolved(each), name)));
    switch (schema.type) {
      case 'boolean':
        return fc.boolean();
      case 'integer':
        return fc.integer(range(schema));
      case 'number':
        return fc.double({ ...range(schema), noNaN: true, noDefaultInfinity: true });
      case 'string':
        return texts(schema);
      case 'array':
        // The name of a list is that of many; of one of them it is the same without the s.
        return fc.array(values(schema.items ?? {}, name.replace(/s$/, '')), {
          minLength: schema.minItems ?? 0,
          maxLength: (schema.minItems ?? 0) + MANY,
        });
      case 'object':
        return objects(schema, values);
      default:
        return fc.jsonValue({ maxDepth: 1 });
    }
  }
}

function objects(
  { properties = {}, required = [], additionalProperties }: Schema,
  values: (schema: Schema, name?: string) => fc.Arbitrary<unknown>,
): fc.Arbitrary<unknown> {
  const fields = Object.fromEntries(Object.entries(properties).map(([name, each]) => [name, values(each, name)]));
  const extra =
    typeof additionalProperties === 'object' && Object.keys(properties).length === 0
      ? fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), values(additionalProperties), { maxKeys: MANY })
      : fc.constant({});
  const complete = fc.record(fields, { requiredKeys: required.filter((name) => name in fields) });
  const whole = fc.tuple(extra, complete).map(([more, object]) => ({ ...more, ...object }));
  return fc.oneof(
    { weight: HOSTILE_OF, arbitrary: whole },
    { weight: 1, arbitrary: fc.record(fields, { requiredKeys: [] }) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(whole, hostileText, hostileValue)
        .map(([object, key, value]) => ({ ...object, [key]: value })),
    },
  );
}

function texts({ pattern, format, minLength = 0, maxLength = 40 }: Schema): fc.Arbitrary<string> {
  switch (format) {
    case 'uuid':
      return fc.uuid();
    case 'date-time':
      return fc.date({ noInvalidDate: true }).map((date) => date.toISOString());
    case 'uri':
      return fc.webUrl();
    case 'email':
      return fc.emailAddress();
    default:
  }
  if (pattern === undefined) return fc.string({ minLength, maxLength: Math.max(minLength, Math.min(maxLength, 40)) });
  // What fast-check cannot make values for; host names are all that the API has of that kind.
  if (pattern.includes('(?=')) return fc.domain();
  return fc.stringMatching(new RegExp(pattern), { size: 'small' });
}

function range({ minimum, exclusiveMinimum, maximum }: Schema): { min: number; max: number } {
  const min = minimum ?? (exclusiveMinimum === undefined ? -1_000 : exclusiveMinimum + 1);
  // Large values of what has a bound are as good as any.
  return { min, max: Math.max(min, maximum ?? min + 1_000) };
}

function hostileFor({ type, minimum, maximum }: Schema): fc.Arbitrary<unknown> {
  const bounds = [minimum, maximum].filter((bound) => bound !== undefined);
  if (type !== 'integer' && type !== 'number') return hostileValue;
  return fc.oneof(hostileValue, hostileNumber, ...bounds.flatMap((bound) => [bound - 1, bound + 1].map(fc.constant)));
}
