import {
  readServerConfRecord,
  readServerConfUndo,
  readSpireServerRecord,
  readSpireServerUndo,
} from '../../src/activities/annotation.js';
import {
  POLICY,
  SERVER_CONF_RECORD,
  SERVER_CONF_UNDO,
  SPIRE_SERVER_RECORD,
  SPIRE_SERVER_UNDO,
} from '../../src/contract/names.js';
import { policySchema } from '../../src/contract/policy.js';
import { readIdentity } from '../../src/federation/identity.js';
import { renderPolicy } from '../../src/federation/policy.js';

const SPLICE = { offset: 3, removed: '', inserted: 'x' };
const WRITTEN = { bundleEndpoint: { profile: 'https_spiffe', refreshHint: 60 } };

const READERS = [
  {
    read: readServerConfRecord,
    kind: 'ConfigMap',
    annotation: SERVER_CONF_RECORD,
    whole: {
      federation: 'f',
      sha256: 'ab',
      splice: SPLICE,
      before: [
        { path: ['server', 'federation'], absent: true },
        { path: ['x'], value: { y: 1 }, absent: false },
      ],
    },
  },
  {
    read: readServerConfUndo,
    kind: 'ConfigMap',
    annotation: SERVER_CONF_UNDO,
    whole: { changeId: 'c', splice: SPLICE, record: null },
  },
  {
    read: readSpireServerRecord,
    kind: 'SpireServer',
    annotation: SPIRE_SERVER_RECORD,
    whole: { federation: 'f', before: null, written: WRITTEN, peers: ['b.test'] },
  },
  {
    read: readSpireServerUndo,
    kind: 'SpireServer',
    annotation: SPIRE_SERVER_UNDO,
    whole: { changeId: 'c', before: WRITTEN, written: WRITTEN, record: '{}' },
  },
];

describe.each(READERS)('annotation $annotation', ({ read, kind, annotation, whole }) => {
  const annotated = (text: string) => ({
    kind,
    metadata: { name: 'spire-server', namespace: 'spire', annotations: { [annotation]: text } },
  });

  test('is read as it was written, and may be absent', () => {
    expect(read('a', annotated(JSON.stringify(whole)))).toEqual(whole);
    expect(read('a', { kind, metadata: { name: 'spire-server' } })).toBeUndefined();
  });

  test.each(['{', '', 'null', '[]', '{}', '"text"'])(
    'that says %j is refused: where it is, and how to go on',
    (text) => {
      const place = `^a: annotation ${annotation} of ${kind} spire-server is not what the engine wrote`;
      const remedy = `kubectl -n spire annotate ${kind.toLowerCase()} spire-server ${annotation}-`;
      const message = expect.stringMatching(new RegExp(`${place}.*${remedy}`)) as string;
      expect(() => read('a', annotated(text))).toThrow(
        expect.objectContaining({ type: 'InvalidObject', message }) as Error,
      );
    },
  );
});

test('a policy in an annotation that somebody broke is no policy, and the rest of the object is read', () => {
  const policy = policySchema.parse({ type: 'universal' });
  const member = { className: 'spire', trustDomain: 'a.test' };
  const object = renderPolicy(policy, member, [{ cluster: 'b', trustDomain: 'b.test' }], 'f');
  expect(readIdentity(object).policy).toEqual(policy);
  for (const text of ['{', '{}', '{"type":"none"}']) {
    const { metadata } = object;
    const broken = { ...object, metadata: { ...metadata, annotations: { ...metadata.annotations, [POLICY]: text } } };
    expect(readIdentity(broken)).toMatchObject({ federation: 'f', federatesWith: ['b.test'] });
    expect(readIdentity(broken).policy).toBeUndefined();
  }
});
