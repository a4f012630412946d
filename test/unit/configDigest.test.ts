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
