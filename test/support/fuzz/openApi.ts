import Ajv2020, { type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

/** A JSON Schema, as far as values are made from it. */
export interface Schema {
  $ref?: string;
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  pattern?: string;
  format?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  items?: Schema;
  minItems?: number;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
}

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  schema: Schema;
}

interface Content {
  content?: Record<string, { schema?: Schema }>;
}

/** What the document says of one method of one path. */
export interface Operation {
  method: string;
  /** With its parameters in braces. */
  path: string;
  parameters: Parameter[];
  body?: Schema | undefined;
  responses: Record<string, Content>;
}

export interface Document {
  paths: Record<string, Record<string, unknown>>;
  components?: unknown;
}

const ID = 'openapi';

/** An OpenAPI 3.1 document: its operations, and whether an answer is as it says. */
export class OpenApi {
  readonly operations: Operation[];
  private readonly ajv = addFormats.default(new Ajv2020.default({ strict: false, allErrors: true }));

  constructor(private readonly document: Document) {
    // Of zod's formats the one that is not JSON Schema's.
    this.ajv.addFormat('base64', /^[A-Za-z0-9+/]*={0,2}$/);
    this.ajv.addSchema({ $id: ID, ...document });
    this.operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, told]) => {
        const {
          parameters = [],
          requestBody,
          responses,
        } = told as {
          parameters?: Parameter[];
          requestBody?: Content;
          responses: Record<string, Content>;
        };
        const body = requestBody?.content?.['application/json']?.schema;
        return { method: method.toUpperCase(), path, parameters, body, responses };
      }),
    );
  }

  /** What a reference leads to. */
  resolved(schema: Schema): Schema {
    if (schema.$ref === undefined) return schema;
    const steps = schema.$ref.replace(/^#\//, '').split('/');
    return steps.reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], this.document) as Schema;
  }

  /** Numbers in a schema that have no upper bound of their own: where they are. */
  unboundedNumbers(given: Schema, at = '#'): string[] {
    const schema = this.resolved(given);
    const {
      type,
      maximum = Number.MAX_SAFE_INTEGER,
      anyOf,
      oneOf,
      items,
      properties = {},
      additionalProperties,
    } = schema;
    const parts: [string, Schema][] = [
      ...(anyOf ?? oneOf ?? []).map((each, index): [string, Schema] => [`${at}/${index}`, each]),
      ...Object.entries(properties).map(([name, each]): [string, Schema] => [`${at}/${name}`, each]),
      ...(items === undefined ? [] : [[`${at}[]`, items] satisfies [string, Schema]]),
      ...(typeof additionalProperties === 'object'
        ? [[`${at}/*`, additionalProperties] satisfies [string, Schema]]
        : []),
    ];
    const isUnbounded = (type === 'integer' || type === 'number') && maximum >= Number.MAX_SAFE_INTEGER;
    return [...(isUnbounded ? [at] : []), ...parts.flatMap(([where, each]) => this.unboundedNumbers(each, where))];
  }

  /** The operation that a path leads to. */
  operationAt(method: string, path: string): Operation | undefined {
    const given = path.split('/');
    const fits = ({ path: template }: Operation) => {
      const steps = template.split('/');
      return steps.length === given.length && steps.every((step, at) => step.startsWith('{') || step === given[at]);
    };
    const candidates = this.operations.filter((each) => each.method === method && fits(each));
    // Where a fixed path and one with a parameter fit, the fixed one does.
    return candidates.find((each) => !each.path.includes('{')) ?? candidates[0];
  }

  /**
   * What of an answer is not as the document says.
   * @param body as it was sent; of JSON, parsed
   */
  faults({ method, path, responses }: Operation, status: number, contentType: string, body: unknown): string[] {
    const range = `${Math.floor(status / 100)}XX`;
    const told = String(status) in responses ? String(status) : range;
    const response = responses[told];
    const where = `${method} ${path} ${status}`;
    if (response === undefined) return [`${where} is not in the document`];
    const media = contentType.split(';')[0] ?? '';
    const contents = Object.keys(response.content ?? {});
    if (contents.length === 0) return body === '' ? [] : [`${where} has a body, and none in the document`];
    if (!contents.includes(media)) return [`${where} is ${media}, and in the document ${contents.join(', ')}`];
    const validate = this.validator(['paths', path, method.toLowerCase(), 'responses', told, 'content', media]);
    return validate === undefined || validate(body) ? [] : [`${where}: ${said(validate.errors)}`];
  }

  private validator(steps: readonly string[]): ValidateFunction | undefined {
    const pointer = [...steps, 'schema']
      .map((step) => encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1')))
      .join('/');
    return this.ajv.getSchema(`${ID}#/${pointer}`);
  }
}

function said(errors: ErrorObject[] | null | undefined): string {
  return (errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message ?? ''}`).join('; ');
}
