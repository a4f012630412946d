import { wordsOf } from '../../src/activities/serverDown.js';

const TEXT = 'time="2026-11-30T06:27:57Z" level=error msg="Unknown configuration detected" keys=https_spiffe';
const JSON_LINE =
  '{"level":"fatal","msg":"cannot open postgres://spire:hunter22@db/spire","time":"2026-11-30T06:27:57Z"}';

test.each([
  ['the newest error, before what is only printed', [TEXT, 'unknown configuration detected'], TEXT.slice(28)],
  [
    'nothing of what came long before',
    [TEXT, 'time=now level=info msg=stopped', 'could not parse: b'],
    'could not parse: b',
  ],
  ['the last line, where none is an error', ['time=now level=info msg=a', 'could not parse: b'], 'could not parse: b'],
  ['JSON, without secrets', [JSON_LINE], '{"level":"fatal","msg":"cannot open postgres://<redacted>@db/spire"}'],
  ['nothing, where nothing was said', [], undefined],
])('of a log the last words are %s', (_what, lines, words) => {
  expect(wordsOf(lines)).toBe(words);
});

test('they are no longer than can be read', () => {
  expect(wordsOf([`level=error msg="${'x'.repeat(10_000)}"`])).toHaveLength(300);
});
