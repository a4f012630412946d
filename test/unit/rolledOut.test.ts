import { federationHash, runsWritten } from '../../src/activities/server.js';
import type { EndpointProfile, WantedFederation } from '../../src/contract/serverConf.js';
import { federatesWithEntry } from '../../src/federation/relationship.js';
import { planServerConf, readServerConf, recordedPeers } from '../../src/spire/serverConf.js';

const PEERS = ['b.test', 'c.test'];
const CONF = JSON.stringify({ server: { trust_domain: 'a.test' } });

function wanted(peers: readonly string[], profile?: EndpointProfile): WantedFederation {
  return {
    bundleEndpoint: {
      address: '0.0.0.0',
      port: 8443,
      refreshHintSeconds: 300,
      ...(profile === undefined ? {} : { profile }),
    },
    federatesWith: Object.fromEntries(peers.map((peer) => [peer, federatesWithEntry(peer, `https://${peer}`)])),
  };
}

/** What is seen of a server whose pod was started with some settings, and whose server.conf has these. */
function runs(settings: WantedFederation, started = settings, { isNewest = true, portDeclared = true } = {}): boolean {
  const { text, record } = planServerConf(CONF, undefined, settings);
  const template = { portDeclared, portAdded: true, federationHash: federationHash(started) };
  return runsWritten(readServerConf(text), recordedPeers(record), template, isNewest);
}

test.each<[string, WantedFederation]>([
  ['static relationships', wanted(PEERS)],
  ['dynamic relationships', wanted([])],
  ['https_spiffe by name', wanted([], { type: 'https_spiffe' })],
  [
    'https_web with files',
    wanted([], {
      type: 'https_web',
      servingCertFile: { certFilePath: '/c', keyFilePath: '/k', fileSyncInterval: '1h' },
    }),
  ],
])('a pod that was started with what server.conf has is known to run it: %s', (_what, settings) => {
  expect(runs(settings)).toBe(true);
});

test('one that was started with other settings, or is to be replaced, is not', () => {
  expect(runs(wanted(PEERS), wanted(['b.test']))).toBe(false);
  expect(runs(wanted(PEERS), wanted(PEERS), { isNewest: false })).toBe(false);
  expect(runs(wanted(PEERS), wanted(PEERS), { portDeclared: false })).toBe(false);
});

test('nor is one whose settings somebody else wrote', () => {
  const template = { portDeclared: true, portAdded: false };
  expect(runsWritten(readServerConf(planServerConf(CONF, undefined, wanted(PEERS)).text), [], template, true)).toBe(
    false,
  );
});
