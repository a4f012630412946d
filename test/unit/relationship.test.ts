import { generateKeyPairSync } from 'node:crypto';
import type { ClusterFacts, RelationshipFacts } from '../../src/contract/facts.js';
import type { KubernetesObject } from '../../src/contract/kubernetes.js';
import { diagnoseFederation } from '../../src/federation/diagnosis.js';
import { planSetup } from '../../src/federation/plan.js';
import { HUB, STORED_BEFORE } from '../../src/contract/names.js';
import { CFTD, readRelationship, relationshipManifest, removingPatch } from '../../src/federation/relationship.js';
import { whyInvalid } from '../../src/spire/controllerManager.js';
import { federatedClusters } from '../support/freshCluster.js';

const FEDERATION = 'demo';
const [OLD, YOUNG] = ['2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z'];

type Related = Partial<RelationshipFacts>;

/** The edge a←b where a has its own relationship, unless that is gone, and one of somebody else. */
function look(own: Related | undefined, foreign: Related, change: Partial<ClusterFacts> = {}) {
  const [a, b] = federatedClusters(FEDERATION, ['a', 'b']);
  const [made] = a?.relationships ?? [];
  if (a === undefined || b === undefined || made === undefined) throw new Error('two clusters were asked for');
  const { federation: _federation, ...others } = made;
  const relationships = [
    ...(own === undefined ? [] : [{ ...made, createdAt: OLD, uid: '5', ...own }]),
    { ...others, name: 'stranger', createdAt: YOUNG, uid: '1', ...foreign },
  ];
  const clusters = [{ ...a, ...change, relationships }, b];
  const settings = { federation: FEDERATION, relationships: 'dynamic', refreshHintSeconds: 300, probe: false } as const;
  const { members, problems } = planSetup(settings, clusters);
  const observed = clusters.map((facts) => ({ cluster: facts.cluster, facts, problems: [] }));
  const { checks, findings } = diagnoseFederation(FEDERATION, observed);
  const scope = 'a←b';
  return {
    verdict: checks.find((check) => check.name === 'relationship' && check.scope === scope)?.verdict,
    finding: findings.find((finding) => finding.check === 'relationship' && finding.scope === scope),
    action: members[0]?.edges.find(({ trusted }) => trusted.cluster === 'b')?.action ?? 'none',
    problems: problems.map(({ about }) => about),
  };
}

const ELSEWHERE = { bundleEndpointURL: 'https://elsewhere.test' };

test.each<[string, Related | undefined, Related, Partial<ClusterFacts>]>([
  ['a younger one', {}, ELSEWHERE, {}],
  ['one of another class, however old', {}, { ...ELSEWHERE, createdAt: '', className: 'other' }, {}],
  ['one without a class', {}, { ...ELSEWHERE, createdAt: '', className: undefined as never }, {}],
  ['an invalid one', {}, { createdAt: '', invalid: 'trustDomainBundle has no keys' }, {}],
  ['one of the same second with a greater UID', { uid: '0' }, { ...ELSEWHERE, createdAt: OLD }, {}],
])('%s takes nothing from the own relationship', (_what, own, foreign, change) => {
  expect(look(own, foreign, change)).toMatchObject({ finding: undefined, action: 'none', problems: [] });
  const edited = look({ ...own, ...ELSEWHERE }, foreign, change);
  expect(edited).toMatchObject({ finding: { action: 'restore' }, action: 'change', problems: [] });
});

test.each<[string, Related | undefined, Related, Partial<ClusterFacts>]>([
  ['an older one', {}, { ...ELSEWHERE, createdAt: '2025-01-01T00:00:00Z' }, {}],
  ['one of the same second with a lesser UID', {}, { ...ELSEWHERE, createdAt: OLD }, {}],
  ['a younger one, once the own is gone', undefined, ELSEWHERE, {}],
  [
    'an older one without a class, where these are watched as well',
    {},
    { createdAt: '', className: undefined as never },
    { watchClassless: true },
  ],
  ['one that has the name and is passed over', undefined, { name: 'b.test', className: 'other' }, {}],
])('%s waits for a person, and the engine does nothing', (_what, own, foreign, change) => {
  const seen = look(own, foreign, change);
  expect(seen).toMatchObject({ verdict: 'failed', action: 'none', problems: ['relationship@a←b'] });
  expect(seen.finding).toBeDefined();
  expect(seen.finding?.action).toBeUndefined();
});

test('where one of others that is passed over is all there is, the own one is made', () => {
  expect(look(undefined, { className: 'other' })).toMatchObject({
    finding: { action: 'restore' },
    action: 'create',
    problems: [],
  });
});

test('an own relationship that SPIRE controller manager refuses is written again', () => {
  const seen = look({ invalid: 'trustDomainBundle has no keys' }, { className: 'other' });
  expect(seen).toMatchObject({ action: 'change', problems: [], finding: { action: 'restore' } });
  expect(seen.finding?.evidence).toMatch(/refuses it: trustDomainBundle has no keys/);
});

test('one of others for a newcomer whose address is not known yet is to be deleted, and held nothing else against', () => {
  const [a, b] = federatedClusters(FEDERATION, ['a', 'b']) as [ClusterFacts, ClusterFacts];
  const { endpointUrl: _url, federation: _member, ...newcomer } = { ...b, endpointObjects: [] };
  const settings = { federation: FEDERATION, relationships: 'dynamic', refreshHintSeconds: 300, probe: false } as const;
  const said = (change: Related) => {
    const relationships = a.relationships.map(({ federation: _federation, ...each }) => ({ ...each, ...change }));
    return planSetup(settings, [{ ...a, relationships }, newcomer]).problems.map(({ message }) => message);
  };
  expect(said({})).toEqual([
    expect.stringMatching(
      /bundleEndpointURL cannot be compared before the bundle endpoint of b is exposed\. Delete it/,
    ),
  ]);
  const [wrong, ...rest] = said({ profileType: 'https_web' });
  expect(rest).toEqual([]);
  expect(wrong).toMatch(/profileType is https_web instead of https_spiffe\. The oldest one wins/);
  expect(wrong).not.toContain('bundleEndpointURL');
});

test('one of others that brings no bundle where none is stored stands in the way, as its endpoint is never believed', () => {
  const theirs = readRelationship(made({ className: 'spire', bundleEndpointURL: 'https://federation.b.test' }));
  expect(theirs.bundleless).toBe(true);
  const seen = look(undefined, theirs, { storedBundles: {} });
  expect(seen).toMatchObject({ verdict: 'failed', action: 'none', problems: ['relationship@a←b'] });
  expect(seen.finding?.evidence).toMatch(/brings no bundle, and none is stored/);
  expect(look(undefined, theirs)).toMatchObject({ verdict: 'ok', problems: [] });
  const { bundleless: _bundleless, ...bringing } = theirs;
  expect(look(undefined, bringing, { storedBundles: {} }).problems).toEqual([]);
  expect(readRelationship(made({ bundleEndpointProfile: { type: 'https_web' } })).bundleless).toBeUndefined();
  expect(readRelationship(made({ trustDomainBundle: '{"keys":[]}' })).bundleless).toBeUndefined();
});

const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
const jwtKey = { use: 'jwt-svid', kid: 'k', ...jwk };

function made(spec: object): KubernetesObject {
  return {
    ...CFTD,
    metadata: { name: 'b.test' },
    spec: {
      trustDomain: 'b.test',
      bundleEndpointURL: 'https://b.test',
      bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID: 'spiffe://b.test/spire/server' },
      ...spec,
    },
  };
}

test.each<[object]>([
  [{}],
  [{ trustDomainBundle: '' }],
  [{ trustDomainBundle: JSON.stringify({ keys: [jwtKey] }) }],
  [{ trustDomainBundle: '{"keys":[]}' }],
  [{ bundleEndpointProfile: { type: 'https_web' } }],
])('SPIRE controller manager takes a relationship with %j', (spec) => {
  expect(whyInvalid(made(spec))).toBeUndefined();
});

test.each<[object, RegExp]>([
  [{ trustDomain: 'B' }, /trustDomain/],
  [{ bundleEndpointURL: 'http://b.test' }, /bundleEndpointURL/],
  [{ bundleEndpointURL: 'https://user@b.test' }, /bundleEndpointURL/],
  [{ bundleEndpointProfile: { type: 'https_spiffe' } }, /endpointSPIFFEID/],
  [{ trustDomainBundle: 'none' }, /not JSON/],
  [{ trustDomainBundle: '{}' }, /no JWKS/],
  [{ trustDomainBundle: '{"keys":null}' }, /no keys/],
  [{ trustDomainBundle: JSON.stringify({ keys: [{ ...jwk, use: 'x509-svid', x5c: ['AAAA'] }] }) }, /unreadable/],
  [{ trustDomainBundle: JSON.stringify({ keys: [{ ...jwtKey, x: 'short' }] }) }, /unreadable/],
])('it ignores one with %j', (spec, why) => {
  expect(whyInvalid(made(spec))).toMatch(why);
});

test('what no apply has set is taken away by a patch of all of it, and only where it is not wanted', () => {
  const [a] = federatedClusters(FEDERATION, ['a', 'b']);
  const [mesh] = a?.relationships ?? [];
  if (mesh === undefined) throw new Error('two clusters were asked for');
  const manifest = (facts: RelationshipFacts) => relationshipManifest(facts, 'current', FEDERATION);
  const live = manifest({ ...mesh, hub: 'b.test', storedBefore: true });
  expect(removingPatch(live, live)).toBeUndefined();
  expect(removingPatch(manifest(mesh), live)).toBeUndefined();
  expect(removingPatch(live, manifest(mesh))).toEqual({
    ...manifest(mesh),
    metadata: { ...manifest(mesh).metadata, annotations: { [HUB]: null, [STORED_BEFORE]: null } },
  });
  const { endpointSPIFFEID: _id, ...web } = { ...mesh, profileType: 'https_web' };
  expect(removingPatch(manifest(mesh), manifest(web))?.['spec']).toMatchObject({
    bundleEndpointProfile: { type: 'https_web', endpointSPIFFEID: null },
    trustDomainBundle: 'current',
  });
});
