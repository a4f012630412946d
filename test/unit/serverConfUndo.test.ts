import type { WantedFederation } from '../../src/contract/serverConf.js';
import { planServerConf, type ServerConfRecord } from '../../src/spire/serverConf.js';
import { textUndo, undoneServerConf, type TextUndo } from '../../src/spire/serverConfUndo.js';

const ORIGINAL = JSON.stringify({ server: { trust_domain: 'a.test', log_level: 'INFO', ca_ttl: '24h' } }, null, 2);

function wanted(...trustDomains: string[]): WantedFederation {
  const entries = trustDomains.map((trustDomain) => [
    trustDomain,
    { bundleEndpointUrl: `https://${trustDomain}`, profile: { type: 'https_web' } },
  ]);
  return {
    bundleEndpoint: { address: '0.0.0.0', port: 8443, refreshHintSeconds: 300 },
    federatesWith: Object.fromEntries(entries) as WantedFederation['federatesWith'],
  };
}

function change(text: string, record: ServerConfRecord | undefined, to: WantedFederation) {
  const plan = planServerConf(text, record, to);
  return { ...plan, undo: textUndo(text, plan.text) };
}

/** An edit of an earlier line, which moves all that follows. */
const edited = (text: string) => text.replace('"INFO"', '"DEBUG, for a while"');

const first = change(ORIGINAL, undefined, wanted('b.test', 'c.test'));
const fewer = change(first.text, first.record, wanted());
const more = change(fewer.text, fewer.record, wanted('b.test'));

test.each([
  { what: 'took something out only', before: first.text, ...fewer },
  { what: 'put something in', before: fewer.text, ...more },
])('an edit that $what is undone to the byte, and others’ edits of earlier lines stay', ({ before, text, undo }) => {
  expect(undoneServerConf(text, undo, undefined)).toBe(before);
  expect(undoneServerConf(edited(text), undo, undefined)).toBe(edited(before));
});

test('the first edit is undone by what it wrote', () => {
  expect(undoneServerConf(first.text, first.undo, first.record)).toBe(ORIGINAL);
  expect(undoneServerConf(edited(first.text), first.undo, first.record)).toBe(edited(ORIGINAL));
});

test('what others edited of the settings themselves is not guessed at', () => {
  const text = fewer.text.replace('8443', '9443');
  expect(() => undoneServerConf(text, fewer.undo, undefined)).toThrow(/edited by somebody else.*by hand/);
});

test('an undo of an older engine writes only what is sure to be the text before', () => {
  const undo: TextUndo = { splice: fewer.undo.splice };
  expect(undo.splice.removed).toBe('');
  expect(undoneServerConf(fewer.text, undo, undefined)).toBe(first.text);
  expect(() => undoneServerConf(edited(fewer.text), undo, undefined)).toThrow(/edited by somebody else/);
});
