import { matchesStrongly, matchesWeakly, tagCondition } from '../../src/api/entityTags.js';

const NOW = '"now"';

test.each([
  ['*', true, true],
  [' * ', true, true],
  ['"now"', true, true],
  ['"before"', false, false],
  ['"before", "now"', true, true],
  ['"before","now" ,\t"later"', true, true],
  [', "now",,', true, true],
  ['"before", "later"', false, false],
  ['W/"now"', false, true],
  ['W/"before", W/"now"', false, true],
  ['W/"now", "now"', true, true],
  // A comma, a star or nothing within the quotes is part of the tag.
  ['"now,later"', false, false],
  ['"*"', false, false],
  ['""', false, false],
  ['"n\u00f6w", "now"', true, true],
])('%s: equal to "now" strongly %p, weakly %p', (header, strongly, weakly) => {
  const condition = tagCondition('If-Match', header);
  expect([matchesStrongly(condition, NOW), matchesWeakly(condition, NOW)]).toEqual([strongly, weakly]);
});

test.each([
  '',
  ' ',
  ',',
  'now',
  '"now',
  'now"',
  '"now" "later"',
  '*, "now"',
  '"now", *',
  'w/"now"',
  'W/ "now"',
  '"a b"',
  "'now'",
])('%j is no list of entity tags', (header) => {
  expect(() => tagCondition('If-None-Match', header)).toThrow(/^If-None-Match must be \* or a list of entity tags/);
});

test('a header of any length is read in no time', () => {
  const startedAt = performance.now();
  for (const each of [' ', '\t ,', '"', '"x', 'W/', '"x" '])
    expect(() => tagCondition('If-Match', each.repeat(200_000))).toThrow('If-Match');
  expect(performance.now() - startedAt).toBeLessThan(2_000);
});
