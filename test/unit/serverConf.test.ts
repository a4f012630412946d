import fc from 'fast-check';
import type { WantedFederation } from '../../src/contract/serverConf.js';
import {
  applySplice,
  planServerConf,
  readServerConf,
  recordedPeers,
  restoreServerConf,
  spliceBetween,
} from '../../src/spire/serverConf.js';

const PASSWORD = 'correct-horse-battery-staple';

function peer(trustDomain: string) {
  return {
    bundleEndpointUrl: `https://federation.${trustDomain}`,
    profile: { type: 'https_spiffe', endpointSpiffeId: `spiffe://${trustDomain}/spire/server` } as const,
  };
}

function wanted(trustDomains: string[], refreshHintSeconds = 300): WantedFederation {
  return {
    bundleEndpoint: { address: '0.0.0.0', port: 8443, refreshHintSeconds },
    federatesWith: Object.fromEntries(trustDomains.map((each) => [each, peer(each)])),
  };
}

const keys = fc.stringMatching(/^[a-z_]{1,12}$/).filter((key) => key !== 'federation' && key !== 'trust_domain');
const values = fc.jsonValue({ maxDepth: 2 });

/** Any server configuration in any layout, with a password outside the part that the engine may touch. */
const configurations = fc
  .record({
    server: fc.dictionary(keys, values, { maxKeys: 5 }),
    others: fc.dictionary(
      keys.filter((key) => key !== 'server'),
      values,
      { maxKeys: 3 },
    ),
    federation: fc.option(
      fc.record(
        {
          bundle_endpoint: fc.record(
            {
              address: fc.constantFrom('0.0.0.0', '127.0.0.1'),
              port: fc.constantFrom(8443, 9443),
              acme: fc.constant({ email: 'a@b.c' }),
            },
            { requiredKeys: [] },
          ),
          federates_with: fc.constant({
            'someone.else': {
              bundle_endpoint_url: 'https://someone.else',
              bundle_endpoint_profile: { https_web: {} },
            },
          }),
        },
        { requiredKeys: [] },
      ),
      { nil: undefined },
    ),
    layout: fc.constantFrom<string | number | undefined>(undefined, 2, 4, '\t'),
    crlf: fc.boolean(),
  })
  .map(({ server, others, federation, layout, crlf }) => {
    const conf = {
      server: { trust_domain: 'example.org', ...server, ...(federation === undefined ? {} : { federation }) },
      plugins: { DataStore: [{ sql: { plugin_data: { connection_string: `password=${PASSWORD}` } } }] },
      ...others,
    };
    const text = `${JSON.stringify(conf, undefined, layout)}\n`;
    return crlf ? text.replaceAll('\n', '\r\n') : text;
  });

const memberships = fc.array(fc.subarray(['a.test', 'b.test', 'c.test'], { minLength: 0 }), {
  minLength: 1,
  maxLength: 4,
});

function withoutFederation(text: string): unknown {
  const conf = JSON.parse(text) as { server: Record<string, unknown> };
  const { federation: _federation, ...server } = conf.server;
  return { ...conf, server };
}

test('the record says how the endpoint was set up, also where nothing had to be written for it', () => {
  const conf = (port: number) =>
    JSON.stringify({
      server: { trust_domain: 'a.test', federation: { bundle_endpoint: { address: '0.0.0.0', port } } },
    });
  const { text, record } = planServerConf(conf(8443), undefined, wanted(['b.test']));
  expect(record.endpoint).toEqual({ address: '0.0.0.0', port: 8443 });
  const edited = text.replace('8443', '9443');
  const { bundleEndpoint, ...rest } = wanted(['b.test']);
  const said = { ...rest, bundleEndpoint: { ...bundleEndpoint, profile: { type: 'https_spiffe' as const } } };
  const mended = planServerConf(edited, record, said);
  expect(readServerConf(mended.text).bundleEndpoint).toMatchObject({ address: '0.0.0.0', port: 8443 });
  expect(mended.record.endpoint).toEqual(record.endpoint);
});

test('any number of edits, then a restore, gives back the very bytes', () => {
  fc.assert(
    fc.property(configurations, memberships, (original, rounds) => {
      let text = original;
      let record = undefined;
      for (const members of rounds) {
        const plan = planServerConf(text, record, wanted(members));
        ({ text } = plan);
        if (plan.changed) ({ record } = plan);
      }
      if (record !== undefined) expect(restoreServerConf(text, record)).toEqual({ text: original, exact: true });
      else expect(text).toBe(original);
    }),
  );
});

test('an edit sets what is wanted, leaves the rest, and does nothing the second time', () => {
  fc.assert(
    fc.property(configurations, fc.subarray(['a.test', 'b.test'], { minLength: 1 }), (original, members) => {
      const before = readServerConf(original);
      const { text, record } = planServerConf(original, undefined, wanted(members));
      const conf = readServerConf(text);
      expect(conf.bundleEndpoint).toMatchObject({ address: '0.0.0.0', port: 8443 });
      for (const member of members) expect(conf.federatesWith[member]).toEqual(peer(member));
      expect(conf.federatesWith['someone.else']).toEqual(before.federatesWith['someone.else']);
      expect(withoutFederation(text)).toEqual(withoutFederation(original));
      expect(planServerConf(text, record, wanted(members))).toMatchObject({ changed: false, text });
      expect(recordedPeers(record).sort()).toEqual([...members].sort());
    }),
  );
});

test('neither the record nor the undo of an edit holds anything from outside server.federation', () => {
  fc.assert(
    fc.property(configurations, (original) => {
      const { text, record } = planServerConf(original, undefined, wanted(['a.test']));
      expect(JSON.stringify(record)).not.toContain(PASSWORD);
      expect(JSON.stringify(spliceBetween(text, original))).not.toContain(PASSWORD);
    }),
  );
});

test('what others edited meanwhile survives a restore', () => {
  fc.assert(
    fc.property(configurations, (original) => {
      const { text, record } = planServerConf(original, undefined, wanted(['a.test']));
      const edited = text.replace('"example.org"', '"example.org", "log_level_of_theirs": "DEBUG"');
      const restored = restoreServerConf(edited, record);
      expect(restored.exact).toBe(false);
      const theirs = original.replace('"example.org"', '"example.org", "log_level_of_theirs": "DEBUG"');
      expect(JSON.parse(restored.text)).toEqual(JSON.parse(theirs));
    }),
  );
});

test('a splice turns one text into the other, and back', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (before, after) => {
      const splice = spliceBetween(before, after);
      expect(applySplice(before, splice)).toBe(after);
      expect(applySplice(after, spliceBetween(after, before))).toBe(before);
    }),
  );
});

test('a splice does not touch a text that was changed meanwhile', () => {
  expect(() => applySplice('xyz', { offset: 0, removed: 'abc', inserted: '' })).toThrow(/edited by somebody else/);
});

test('blocks that are written as lists of one block are read and edited in place', () => {
  const original = JSON.stringify({
    server: [{ trust_domain: 'example.org', federation: [{ bundle_endpoint: [{ address: '0.0.0.0', port: 8443 }] }] }],
  });
  expect(readServerConf(original).bundleEndpoint).toEqual({ address: '0.0.0.0', port: 8443 });
  const { text, record } = planServerConf(original, undefined, wanted(['a.test']));
  expect(JSON.parse(text)).toMatchObject({
    server: [{ federation: [{ bundle_endpoint: [{ refresh_hint: '300s' }], federates_with: { 'a.test': {} } }] }],
  });
  expect(restoreServerConf(text, record).text).toBe(original);
});

test('an equal hint in other words is left as it is', () => {
  const original = JSON.stringify({
    server: {
      trust_domain: 'example.org',
      federation: { bundle_endpoint: { address: '0.0.0.0', port: 8443, refresh_hint: '5m0s' } },
    },
  });
  expect(planServerConf(original, undefined, wanted([]))).toMatchObject({ changed: false, text: original });
});

test.each([
  ['server {\n  trust_domain = "example.org"\n}', /not JSON .*line 1/],
  ['{\n  "server": {\n    "trust_domain" "x"\n  }\n}', /not JSON .*line 3/],
  ['[]', /not JSON/],
  ['{"server": {}}', /no server\.trust_domain/],
])('%j is refused with the reason', (text, reason) => {
  expect(() => readServerConf(text)).toThrow(expect.objectContaining({ type: 'ServerConfUnreadable' }) as Error);
  expect(() => readServerConf(text)).toThrow(reason);
});

test.each([
  ['{"server":{"federation":{},"trust_domain":"a.test"}}', true],
  ['{"server":[{"federation":[{}],"trust_domain":"a.test"}]}', true],
  ['{"server":{"trust_domain":"a.test","federation":{}}}', undefined],
  ['{"server":{"trust_domain":"a.test"}}', undefined],
])('whether federation is the first key of server is told: %s', (text, first) => {
  expect(readServerConf(text).federationFirst).toBe(first);
});
