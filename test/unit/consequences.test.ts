import type { Check, Verdict } from '../../src/contract/verify.js';
import { explainsEdge, withCauses } from '../../src/federation/consequences.js';

function check(id: string, more: Partial<Check> = {}): Check {
  const [name = '', scope = ''] = id.split('@');
  return { name, scope, verdict: 'failed' satisfies Verdict, evidence: 'seen', ...more };
}

/** What nothing else explains. */
const causes = (...checks: Check[]) =>
  withCauses(checks)
    .filter(({ because, verdict }) => because === undefined && verdict !== 'ok')
    .map(({ name, scope }) => `${name}@${scope}`);

test.each<[string, string[], string[]]>([
  ['a deleted Route', ['endpoint@b', 'route@b', 'endpointUnreachable@a←b'], ['route@b']],
  ['a Route that ends TLS', ['endpoint@b', 'route@b', 'webCertificate@a←b'], ['route@b']],
  ['a server that is down', ['cluster@b', 'server-down@b', 'edge@a←b', 'edge@b←a'], ['server-down@b']],
  ['a peer that cannot be authenticated', ['stored-bundle@a←b', 'unknownAuthority@a←b'], ['unknownAuthority@a←b']],
  ['a lost federates_with', ['server-conf@a', 'pollerStalled@a←b', 'stored-bundle@a←b'], ['server-conf@a']],
  ['a bundle without hint that is not polled', ['refresh-hint@a←b', 'pollerStalled@a←b'], ['refresh-hint@a←b']],
  ['all of a member gone', ['member-removed@a', 'service@a', 'relationship@a←b', 'edge@b←a'], ['member-removed@a']],
  [
    'two faults that have nothing to do with each other',
    ['route@b', 'relationship@b←a'],
    ['route@b', 'relationship@b←a'],
  ],
  [
    'the same fault elsewhere explains nothing',
    ['route@a', 'endpointUnreachable@a←b'],
    ['route@a', 'endpointUnreachable@a←b'],
  ],
])('%s', (_name, checks, expected) => {
  expect(causes(...checks.map((id) => check(id)))).toEqual(expected);
});

test('a certificate that a peer refuses explains that the engine refuses it, and not that it cannot get there', () => {
  const refused = check('endpoint@b', { evidence: 'b: bundle endpoint https://b.test presents a certificate that …' });
  expect(causes(refused, check('certificateTime@a←b'))).toEqual(['certificateTime@a←b']);
  expect(causes(refused, check('webCertificate@a←b'))).toEqual(['webCertificate@a←b']);
  expect(causes(refused, check('webCertificate@b←a'))).toEqual(['endpoint@b', 'webCertificate@b←a']);
  expect(causes(check('endpoint@b'), check('webCertificate@a←b'))).toEqual(['endpoint@b', 'webCertificate@a←b']);
});

test('an edited policy explains its own ClusterSPIFFEID, and no other one', () => {
  const policy = check('policy@a', { about: 'ours' });
  expect(causes(policy, check('identity@a', { about: 'ours' }))).toEqual(['policy@a']);
  expect(causes(policy, check('identity@a', { about: 'theirs' }))).toEqual(['policy@a', 'identity@a']);
});

test('a missing bundle explains the ClusterSPIFFEIDs that name it', () => {
  const identity = check('identity@a', { about: 'ours', evidence: 'no bundle is stored for b.test' });
  expect(causes(check('stored-bundle@a←b'), identity)).toEqual(['stored-bundle@a←b']);
});

test('what is well explains nothing', () => {
  expect(causes(check('route@b', { verdict: 'ok' }), check('endpoint@b'))).toEqual(['endpoint@b']);
});

test.each<
  [string, 'endpointUnreachable' | 'neverBootstrapped' | 'unknownAuthority' | 'certificateTime' | undefined, boolean]
>([
  ['service@b', 'endpointUnreachable', true],
  ['endpoint@b', undefined, true],
  ['service@a', 'endpointUnreachable', false],
  ['port@a', 'neverBootstrapped', false],
  ['managed-route@b', 'neverBootstrapped', false],
  ['endpoint@b', 'unknownAuthority', false],
  ['server-conf@a', 'neverBootstrapped', true],
  ['rendering@b', 'unknownAuthority', true],
  ['member-removed@b', 'neverBootstrapped', true],
  ['cluster@b', undefined, true],
  ['cluster@c', undefined, false],
  ['relationship@a←b', 'neverBootstrapped', true],
  ['relationship@b←a', 'neverBootstrapped', false],
  ['clock@b', 'certificateTime', true],
  ['clock@b', 'endpointUnreachable', false],
  ['policy@a', 'neverBootstrapped', false],
])('%s as the reason why a←b is %s: %s', (id, cause, is) => {
  const [name = '', scope = ''] = id.split('@');
  expect(explainsEdge({ check: name, scope }, 'a←b', cause)).toBe(is);
});
