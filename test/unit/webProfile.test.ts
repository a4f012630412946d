import type { ClusterFacts } from '../../src/contract/facts.js';
import type { EndpointProfile } from '../../src/contract/serverConf.js';
import { classifyPollError, fetchAdvice } from '../../src/federation/freshness.js';
import { planSetup, type SetupOptions } from '../../src/federation/plan.js';
import { relationshipManifest, wantedRelationship } from '../../src/federation/relationship.js';
import { wantedFederation } from '../../src/federation/serverConfPlan.js';
import { fetchedUnasked, profileProblems } from '../../src/federation/webProfile.js';
import { notAuthentic, type EndpointIdentity } from '../../src/spire/endpoint.js';
import { planServerConf, readServerConf, restoreServerConf } from '../../src/spire/serverConf.js';
import { federatedClusters, freshCluster } from '../support/freshCluster.js';

const FILES = { certFilePath: '/run/web/tls.crt', keyFilePath: '/run/web/tls.key', fileSyncInterval: '1h' };
const WEB: EndpointProfile = { type: 'https_web', servingCertFile: FILES };
const ACME: EndpointProfile = {
  type: 'https_web',
  acme: { domainName: 'federation.a.test', email: 'ops@a.test', tosAccepted: true },
};

const options: SetupOptions = {
  federation: 'demo',
  relationships: 'static',
  refreshHintSeconds: 300,
  hub: undefined,
  policies: undefined,
  probe: false,
};

/** A cluster whose inventory entry wants a profile, with the certificate mounted. */
function web(wanted: EndpointProfile = WEB, more: Partial<ClusterFacts> = {}): ClusterFacts {
  return {
    ...freshCluster('a'),
    profile: { type: 'https_web', wanted, privateAuthority: false },
    container: { mountPaths: ['/run/web'], environment: [] },
    ...more,
  };
}

const conf = (bundleEndpoint: object) =>
  JSON.stringify({ server: { trust_domain: 'a.test', federation: { bundle_endpoint: bundleEndpoint } } }, undefined, 2);

describe('a member with https_web among members with https_spiffe', () => {
  test('serves its bundle with the certificate, and asks the others for SVIDs', () => {
    const [a, b] = [web(), freshCluster('b')];
    const peers = [{ trustDomain: 'b.test', endpointUrl: 'https://b', profile: b.profile.type }];
    const wanted = wantedFederation(a, peers, options);
    expect(wanted.bundleEndpoint.profile).toEqual(WEB);
    expect(wanted.federatesWith['b.test']?.profile).toEqual({
      type: 'https_spiffe',
      endpointSpiffeId: 'spiffe://b.test/spire/server',
    });
  });

  test('is asked for its certificate, by configuration and by ClusterFederatedTrustDomain', () => {
    const [a, b] = [web(), freshCluster('b')];
    const { federatesWith } = wantedFederation(
      b,
      [{ trustDomain: 'a.test', endpointUrl: 'https://a', profile: a.profile.type }],
      options,
    );
    expect(federatesWith['a.test']).toEqual({ bundleEndpointUrl: 'https://a', profile: { type: 'https_web' } });
    const relationship = wantedRelationship(b, a, 'https://a', { federation: 'demo' });
    expect(relationshipManifest(relationship, undefined, 'demo')['spec']).toMatchObject({
      bundleEndpointProfile: { type: 'https_web' },
    });
    expect(relationship).not.toHaveProperty('endpointSPIFFEID');
  });

  test('once finished, it has nothing to do; without the setting in the inventory it stays as it is', () => {
    const [a, b] = federatedClusters('demo', ['a', 'b']);
    if (a === undefined || b === undefined) throw new Error('two clusters are two');
    const served = { ...a.serverConf, bundleEndpoint: { ...a.serverConf.bundleEndpoint, profile: WEB } };
    const profile = { type: 'https_web' as const, privateAuthority: false };
    const knowing = {
      ...b,
      serverConf: {
        ...b.serverConf,
        federatesWith: {
          'a.test': { bundleEndpointUrl: a.endpointUrl ?? '', profile: { type: 'https_web' as const } },
        },
      },
      relationships: b.relationships.map(({ endpointSPIFFEID: _id, ...each }) => ({
        ...each,
        profileType: 'https_web',
      })),
    };
    expect(planSetup(options, [{ ...a, serverConf: served, profile }, knowing]).changes).toBe(false);
  });

  test('a ClusterFederatedTrustDomain of somebody else with the other profile is named, with what to do', () => {
    const foreign = {
      ...wantedRelationship(freshCluster('b'), freshCluster('a'), 'https://a', { federation: 'demo' }),
      name: 'by-hand',
    };
    const { federation: _federation, ...byHand } = foreign;
    const b = { ...freshCluster('b'), relationships: [byHand] };
    const { problems } = planSetup(options, [web(WEB, { endpointUrl: 'https://a' }), b]);
    expect(problems).toMatchObject([{ cluster: 'b', type: 'ForeignObject' }]);
    expect(problems[0]?.message).toMatch(
      /ClusterFederatedTrustDomain by-hand .* profileType is https_spiffe instead of https_web.*correct or delete it/,
    );
  });
});

describe('before anything is changed it is said', () => {
  const said = (facts: ClusterFacts, trusting = freshCluster('b')) =>
    profileProblems(undefined, [facts, trusting]).map(({ cluster, message }) => `${cluster}> ${message}`);

  test.each<{ case: string; facts: ClusterFacts; says: RegExp }>([
    {
      case: 'that nothing tells where the certificate is',
      facts: { ...freshCluster('a'), profile: { type: 'https_web', privateAuthority: false } },
      says: /^a> a: .*does not say where the certificate is: say servingCertFile or acme/,
    },
    {
      case: 'that SPIRE is too old for a certificate from files',
      facts: web(WEB, { spireVersion: '1.9.6' }),
      says: /SPIRE 1\.9\.6 cannot serve .*1\.10\.1 is the first/,
    },
    {
      case: 'that the certificate is not mounted',
      facts: web(WEB, { container: { mountPaths: ['/run/webs'], environment: [] } }),
      says: /\/run\/web\/tls\.crt .* is in no volume of container spire-server: mount the Secret/,
    },
    {
      case: 'that ACME cannot prove the domain',
      facts: web(ACME, { endpointUrl: 'https://10.0.0.1:8443' }),
      says: /a certificate for federation\.a\.test, .* but the endpoint is at https:\/\/10\.0\.0\.1:8443/,
    },
    {
      case: 'that the endpoint is not believed as it is',
      facts: web(WEB, { profile: { type: 'https_web', wanted: WEB, privateAuthority: false, problem: 'a: expired' } }),
      says: /^a> a: expired/,
    },
  ])('$case', ({ facts, says }) => {
    expect(said(facts)[0]).toMatch(says);
  });

  test('that a peer does not know a private authority, by the peer’s name', () => {
    const facts = web(WEB, { profile: { type: 'https_web', wanted: WEB, privateAuthority: true } });
    expect(said(facts)).toEqual([
      expect.stringMatching(/^b> b: SPIRE server would not believe .*spire#5331.*SSL_CERT_FILE/),
    ]);
  });

  test.each([
    { mountPaths: [], environment: ['SSL_CERT_FILE'] },
    { mountPaths: ['/etc/pki/ca-trust/extracted/pem'], environment: [] },
    { mountPaths: ['/etc/ssl/certs/ca-certificates.crt'], environment: [] },
  ])('and nothing where the peer has authorities of its own: %j', (container) => {
    const facts = web(WEB, { profile: { type: 'https_web', wanted: WEB, privateAuthority: true } });
    expect(said(facts, { ...freshCluster('b'), container })).toEqual([]);
  });

  test('nor where all is as it must be', () => {
    expect(said(web())).toEqual([]);
    expect(said(web(ACME, { endpointUrl: 'https://federation.a.test' }))).toEqual([]);
  });
});

describe('server.conf', () => {
  const wanted = (profile: EndpointProfile) => ({
    bundleEndpoint: { address: '0.0.0.0', port: 8443, refreshHintSeconds: 300, profile },
    federatesWith: {},
  });
  const endpoint = (text: string) =>
    (JSON.parse(text) as { server: { federation: { bundle_endpoint: object } } }).server.federation.bundle_endpoint;
  const base = { address: '0.0.0.0', port: 8443, refresh_hint: '300s' };

  test.each<{ case: string; before: object; profile: EndpointProfile; after: object }>([
    {
      case: 'a certificate from files, with the interval that SPIRE does not start without',
      before: base,
      profile: WEB,
      after: {
        profile: {
          https_web: [
            {
              serving_cert_file: {
                cert_file_path: '/run/web/tls.crt',
                key_file_path: '/run/web/tls.key',
                file_sync_interval: '1h',
              },
            },
          ],
        },
      },
    },
    {
      case: 'ACME, in the profile and no longer beside it',
      before: { ...base, acme: { domain_name: 'old.a.test', email: 'ops@a.test', tos_accepted: true } },
      profile: ACME,
      after: {
        profile: {
          https_web: [{ acme: { domain_name: 'federation.a.test', email: 'ops@a.test', tos_accepted: true } }],
        },
      },
    },
    {
      case: 'https_spiffe in place of https_web',
      before: { ...base, profile: { https_web: { serving_cert_file: { cert_file_path: 'c', key_file_path: 'k' } } } },
      profile: { type: 'https_spiffe' },
      after: { profile: { https_spiffe: [{}] } },
    },
  ])('gets $case, and is put back to the very bytes', ({ before, profile, after }) => {
    const text = conf(before);
    const { text: written, record, changed } = planServerConf(text, undefined, wanted(profile));
    expect(changed).toBe(true);
    expect(endpoint(written)).toEqual({ ...base, ...after });
    expect(readServerConf(written).bundleEndpoint?.profile).toEqual(profile);
    expect(planServerConf(written, record, wanted(profile)).changed).toBe(false);
    expect(restoreServerConf(written, record).text).toBe(text);
    // After an edit of others elsewhere, by what stood there.
    const edited = written.replace('"a.test"', '"a.test", "log_level": "debug"');
    expect(endpoint(restoreServerConf(edited, record).text)).toEqual(before);
  });

  test.each([
    { case: 'says https_spiffe', before: { ...base, profile: { https_spiffe: {} } } },
    { case: 'says https_spiffe in brackets', before: { ...base, profile: [{ https_spiffe: [{}] }] } },
    { case: 'says nothing', before: base },
  ])('that $case already has https_spiffe', ({ before }) => {
    expect(planServerConf(conf(before), undefined, wanted({ type: 'https_spiffe' })).changed).toBe(false);
  });
});

describe('what an endpoint presents that is not believed', () => {
  const web: EndpointIdentity = { profile: 'https_web', authorities: undefined };
  const spiffe: EndpointIdentity = {
    profile: 'https_spiffe',
    spiffeId: 'spiffe://a.test/spire/server',
    authorities: [],
  };
  const presented = { uris: [], hosts: ['other.test'], issuer: 'Test CA', validTo: 'Jan  1 00:00:00 2026 GMT' };
  const svid = { ...presented, uris: ['spiffe://a.test/spire/server'], hosts: [] };

  test.each([
    { identity: web, code: 'CERT_HAS_EXPIRED', presented, says: /expired on Jan {2}1 .*2026 GMT: .*Renew it/ },
    { identity: web, code: 'CERT_NOT_YET_VALID', presented, says: /not valid yet: peers refuse it/ },
    {
      identity: web,
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      presented,
      says: /certificate for other\.test, and not for federation\.a\.test: .*Issue it for that host/,
    },
    { identity: web, code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', presented, says: /issued by Test CA.*webPkiCA/ },
    {
      identity: { ...web, authorities: ['PEM'] },
      code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      presented,
      says: /issued by Test CA, for which no authority in webPkiCA vouches/,
    },
    {
      identity: web,
      code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      presented: svid,
      says: /should serve https_web, but authenticates itself as spiffe:\/\/a\.test\/spire\/server: its profile is https_spiffe/,
    },
    {
      identity: spiffe,
      code: 'UNABLE_TO_GET_ISSUER_CERT',
      presented,
      says: /certificate for other\.test and no SPIFFE ID\. It serves https_web/,
    },
    {
      identity: spiffe,
      code: 'ERR_SPIFFE_ID',
      presented: undefined,
      says: /is not spiffe:\/\/a\.test\/spire\/server: said/,
    },
  ])('$code with $identity.profile', ({ identity, code, presented: what, says }) => {
    const question = { cluster: 'a', url: 'https://federation.a.test', identity };
    expect(notAuthentic(question, { code, message: 'said' }, what)).toMatch(says);
  });
});

describe('what SPIRE says of a fetch that failed', () => {
  const get = 'failed to fetch bundle: Get "https://a.test": tls: failed to verify certificate: x509: ';

  test.each([
    { said: `${get}certificate signed by unknown authority`, cause: 'webCertificate', advice: /SSL_CERT_FILE/ },
    {
      said: `${get}certificate has expired or is not yet valid: current time 2026-01-02T00:00:00Z is after 2026-01-01T00:00:00Z`,
      cause: 'certificateTime',
      advice: /renewed where it comes from files/,
    },
    {
      said: 'failed to fetch bundle: Get "https://a.test": x509svid: could not verify leaf certificate: x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is before 2026-01-01T00:01:00Z',
      cause: 'certificateTime',
      advice: /clocks of both clusters/,
    },
    { said: `${get}certificate is valid for b.test, not a.test`, cause: 'webCertificate', advice: /^Issue/ },
    {
      said: `failed to authenticate bundle endpoint using web authentication but the server certificate contains SPIFFE ID "spiffe://a.test/spire/server": maybe use https_spiffe instead of https_web: Get "https://a.test": tls: failed to verify certificate: x509: certificate is not valid for any names`,
      cause: 'wrongProfile',
      advice: /serves https_spiffe/,
    },
    {
      said: 'failed to fetch bundle: Get "https://a.test": x509svid: could not get leaf SPIFFE ID: certificate contains no URI SAN',
      cause: 'wrongProfile',
      advice: /serves https_web/,
    },
    {
      said: 'failed to fetch bundle: Get "https://a.test": x509svid: could not verify leaf certificate: x509: certificate signed by unknown authority',
      cause: 'unknownAuthority',
      advice: undefined,
    },
  ])('$cause: $said', ({ said, cause, advice }) => {
    expect(classifyPollError(said)).toBe(cause);
    if (advice === undefined) expect(fetchAdvice(said)).toBeUndefined();
    else expect(fetchAdvice(said)).toMatch(advice);
  });
});

test('SPIRE server fetches by itself what its configuration asks for by https_web', () => {
  const bundleEndpointUrl = 'https://x';
  expect(
    fetchedUnasked({
      'a.test': { bundleEndpointUrl, profile: { type: 'https_web' } },
      'b.test': {
        bundleEndpointUrl,
        profile: { type: 'https_spiffe', endpointSpiffeId: 'spiffe://b.test/spire/server' },
      },
      'c.test': { unreadable: '3' },
    }),
  ).toEqual(['a.test']);
});
