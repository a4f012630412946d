import fc from 'fast-check';

/** Names that lead out of what was meant, in JavaScript, in a path or in a file system. */
const NAMES = [
  ...['constructor', '__proto__', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', 'then', 'length'],
  ...['..', '../../etc/passwd', '/etc/passwd', '*', 'null', 'undefined', 'NaN', 'true', '0'],
];
const TEXTS = [
  ...['', ' ', '\u0000', '\ud800', '\u202e', 'é', '😀', "'; DROP TABLE x; --", '<script>alert(1)</script>'],
  ...['{{ .TrustDomain }}', '${jndi:ldap://x}', '%s%n', 'a\r\nSet-Cookie: x=y'],
];

/** Numbers that are out of bounds, or hardly a number. */
export const hostileNumber: fc.Arbitrary<number> = fc.constantFrom(
  ...[-1, 0, -0, 0.5, 1e-7, 1e21, 1e308, 2 ** 31, 2 ** 32, 2 ** 53, Number.MAX_SAFE_INTEGER, -(2 ** 53)],
);

const longText = fc.constantFrom(64, 254, 4_096, 70_000).map((length) => 'a'.repeat(length));

export const hostileText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...NAMES),
  fc.constantFrom(...TEXTS),
  longText,
  fc.string({ unit: 'binary', maxLength: 20 }),
);

/** A value that has no business where it is put. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  hostileNumber,
  fc.constantFrom<unknown>(null, true, false, [], {}, [null], [[[]]], { constructor: { prototype: { x: 1 } } }),
  fc.jsonValue({ maxDepth: 2 }),
);

/** A step of a path, as it stands in the request: encoded, badly encoded, or a trick. */
export const hostileSegment: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...NAMES).map(encodeURIComponent),
  fc.constantFrom(
    '',
    '.',
    '..',
    '%2e%2e',
    '..%2f..%2fetc',
    '..%5c',
    '%',
    '%zz',
    '%00',
    '%ff',
    '%C0%AF',
    '%u0041',
    ';x=1',
  ),
  fc.constantFrom(65, 255, 257, 3_000).map((length) => 'a'.repeat(length)),
  fc.constantFrom('{cluster}', ':cluster', '(x)', '$', '@', '~', '[]', '%20', '%0d%0aX:y').map(printable),
);

/** A body that is no JSON, or not one that should be read. */
export const hostileBody: fc.Arbitrary<string | Buffer> = fc.oneof(
  fc.constantFrom('', ' ', '{', '}', '{"a":', '[]', 'null', '1', '"x"', '{"a":1}{"b":2}', "{'a':1}", '\ufeff{}', 'NaN'),
  fc.constantFrom(
    '{"__proto__":{"federation":"x"}}',
    '{"constructor":{"prototype":{"x":1}}}',
    '{"clusters":["a"],"clusters":["b"]}',
  ),
  fc.constant('['.repeat(100_000)),
  fc.constant(`{"x":"${'x'.repeat(600_000)}"}`),
  fc.constant(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])),
);

/** What cannot be written into a request line as it is. */
function printable(text: string): string {
  return text.replaceAll(/[^\x21-\x7e]/g, encodeURIComponent);
}
