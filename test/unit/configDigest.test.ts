import { SERVER_CONF_LAST_GOOD, SERVER_CONF_RECORD, SERVER_CONF_UNDO } from '../../src/contract/names.js';
import { configDigest } from '../../src/federation/configDigest.js';

const CONF = '{"server":{"trust_domain":"a.test","federation":{"bundle_endpoint":{"port":8443}}}}';

/** Of a cluster whose ConfigMap has these annotations. */
function digest(annotations: Record<string, string>, conf = CONF): string {
  return configDigest(
    [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'spire-server', namespace: 'spire', annotations } }],
    conf,
  );
}

const record = { [SERVER_CONF_RECORD]: '{"sha256":"ab"}' };

test('an annotation of the engine that somebody breaks or takes off is worth a thorough look', () => {
  expect(digest({ [SERVER_CONF_RECORD]: '{"sha256":' })).not.toBe(digest(record));
  expect(digest({})).not.toBe(digest(record));
});

test('what comes and goes with a change, or stands elsewhere in server.conf, is not', () => {
  expect(digest({ ...record, [SERVER_CONF_UNDO]: '{}', [SERVER_CONF_LAST_GOOD]: '{}' })).toBe(digest(record));
  expect(digest(record, CONF.replace('"server":{', '"server":{"log_level":"DEBUG",'))).toBe(digest(record));
});

describe('TLS settings', () => {
  /** Of a cluster with this object before its bundle endpoint. */
  const exposedBy = (kind: 'Route' | 'Ingress', tls?: unknown) =>
    configDigest([{ apiVersion: 'v1', kind, metadata: { name: 'r', namespace: 'n' }, spec: { host: 'h', tls } }], CONF);
  const made = { termination: 'passthrough', insecureEdgeTerminationPolicy: 'None' };

  test.each<[string, unknown]>([
    ['another policy for what comes without TLS', { ...made, insecureEdgeTerminationPolicy: 'Redirect' }],
    ['another termination', { ...made, termination: 'reencrypt' }],
    ['none at all', undefined],
  ])('of a Route: %s is worth a thorough look', (_what, tls) => {
    expect(exposedBy('Route', tls)).not.toBe(exposedBy('Route', made));
  });

  test('of a Route: a certificate that is renewed is not', () => {
    const certified = (certificate: string) =>
      exposedBy('Route', { ...made, certificate, key: `key of ${certificate}` });
    expect(certified('new')).toBe(certified('old'));
  });

  test('of an Ingress: another host or Secret is worth one', () => {
    const tls = { hosts: ['h'] };
    expect(exposedBy('Ingress', [{ ...tls, secretName: 's' }])).not.toBe(exposedBy('Ingress', [tls]));
    expect(exposedBy('Ingress', [])).not.toBe(exposedBy('Ingress', [tls]));
  });
});
