import { assignSpireVersions, parseSpireVersions } from '../../sandbox/spireVersions.js';

describe('--spire-version', () => {
  test.each([
    { texts: [], choice: { byCluster: {} } },
    { texts: ['1.13.3'], choice: { all: '1.13.3', byCluster: {} } },
    { texts: ['client-1=1.13.3', '1.15.2'], choice: { all: '1.15.2', byCluster: { 'client-1': '1.13.3' } } },
  ])('$texts', ({ texts, choice }) => expect(parseSpireVersions(texts)).toEqual(choice));

  test.each([
    { texts: ['1.14.0'], says: /1\.14\.0: it must be 1\.15\.2 or 1\.13\.3/ },
    { texts: ['client-1='], says: /client-1=: it must be/ },
    { texts: ['=1.13.3'], says: /=1\.13\.3: it must be/ },
    { texts: ['1.13.3', '1.15.2'], says: /Two SPIRE versions for all clusters: 1\.13\.3 and 1\.15\.2/ },
    { texts: ['edge-1=1.13.3', 'edge-1=1.15.2'], says: /Two SPIRE versions for edge-1/ },
  ])('$texts is refused', ({ texts, says }) => expect(() => parseSpireVersions(texts)).toThrow(says));
});

describe('the version of each cluster', () => {
  test('is the default unless chosen, for one cluster before all', () => {
    expect(assignSpireVersions(2, { byCluster: {} }, {})).toEqual({ 'client-1': '1.15.2', 'server-1': '1.15.2' });
    expect(assignSpireVersions(2, { all: '1.13.3', byCluster: { 'server-1': '1.15.2' } }, {})).toEqual({
      'client-1': '1.13.3',
      'server-1': '1.15.2',
    });
  });

  test('stays what it is for a cluster that exists, and those that exist stay', () => {
    const existing = { 'client-1': '1.13.3', 'server-1': '1.13.3' } as const;
    expect(assignSpireVersions(1, { byCluster: {} }, existing)).toEqual(existing);
    expect(Object.entries(assignSpireVersions(3, { byCluster: { 'edge-1': '1.15.2' } }, existing))).toEqual([
      ['client-1', '1.13.3'],
      ['server-1', '1.13.3'],
      ['edge-1', '1.15.2'],
    ]);
  });

  test('cannot be changed', () => {
    expect(() => assignSpireVersions(2, { all: '1.13.3', byCluster: {} }, { 'client-1': '1.15.2' })).toThrow(
      /^client-1 runs SPIRE 1\.15\.2, not 1\.13\.3\. .* as edge-1=1\.13\.3/,
    );
  });

  test('cannot be chosen for a cluster that is not to be', () => {
    expect(() => assignSpireVersions(2, { byCluster: { 'edge-1': '1.13.3' } }, {})).toThrow(
      /given for edge-1, but the clusters are client-1, server-1\. .*--clusters/,
    );
  });
});
