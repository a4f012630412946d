import type { KubernetesObject } from '../contract/kubernetes.js';
import { CONTROLLER_MANAGER, SERVER_CONF_RECORD, SERVER_CONF_UNDO } from '../contract/names.js';
import { withoutSecrets } from './ownership.js';
import { REDACTED, redactText, redactValue } from './redaction.js';

/**
 * Settings of SPIRE's plugins whose values say what they are and hold no secret (spire: doc/plugin_server_*.md). All
 * others are redacted, also those of plugins that nobody knows here.
 */
const HARMLESS_SETTINGS = new Set([
  'agent_path_template',
  'allowed_pod_label_keys',
  'audience',
  'clusters',
  'config_map',
  'config_map_key',
  'database_type',
  'key_type',
  'key_usage',
  'namespace',
  'region',
  'service_account_allow_list',
  'vault_addr',
  'pki_mount_point',
]);

/** A server.conf as a bug report may have it: of its plugins only what cannot be a secret. */
export function dumpedServerConf(text: string): string {
  let conf: unknown;
  try {
    conf = JSON.parse(text);
  } catch {
    return `left out: it is not JSON, so what is secret in it cannot be told (${text.length} characters)\n`;
  }
  const { plugins, ...rest } = conf as { plugins?: unknown };
  const shown = { ...(redactValue(rest) as object), ...(plugins === undefined ? {} : { plugins: plugin(plugins) }) };
  return `${JSON.stringify(shown, undefined, 2)}\n`;
}

/** The plugins by type and name, in either of the forms that SPIRE reads, with their settings. */
function plugin(value: unknown, name = ''): unknown {
  if (name === 'plugin_data') return settings(value, false);
  if (name === 'plugin_cmd' || name === 'plugin_args' || name === 'plugin_checksum') return REDACTED;
  if (Array.isArray(value)) return value.map((each) => plugin(each));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plugin(member, key)]));
}

function settings(value: unknown, isHarmless: boolean): unknown {
  if (typeof value === 'string') return isHarmless ? redactValue(value) : REDACTED;
  if (Array.isArray(value)) return value.map((each) => settings(each, isHarmless));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, settings(member, HARMLESS_SETTINGS.has(key))]),
  );
}

/** An object as a bug report may have it: without secrets, and without what the API server keeps for itself. */
export function dumpedObject(object: KubernetesObject): Record<string, unknown> {
  const { metadata, ...rest } = withoutSecrets(object);
  const { managedFields: _managedFields, ...kept } = metadata as KubernetesObject['metadata'] & {
    managedFields?: unknown;
  };
  const annotations = kept.annotations && Object.fromEntries(Object.entries(kept.annotations).map(dumpedAnnotation));
  const { data, ...others } = rest as typeof rest & { data?: Record<string, string> };
  return {
    ...(redactValue(withoutValues(others)) as object),
    metadata: { ...(redactValue(kept) as object), ...(annotations === undefined ? {} : { annotations }) },
    ...(data === undefined ? {} : { data: dumpedData(object.metadata.name, data) }),
  };
}

/** What the engine notes beside server.conf, without the pieces of that file that are in it. */
function dumpedAnnotation([name, value]: [string, string]): [string, unknown] {
  if (name !== SERVER_CONF_RECORD && name !== SERVER_CONF_UNDO) return [name, redactValue(value)];
  try {
    const { splice: _splice, record, ...note } = JSON.parse(value) as Record<string, unknown>;
    return [name, redactValue({ ...note, ...(record == null ? {} : { record: '(left out)' }) })];
  } catch {
    return [name, `(unreadable, ${value.length} characters)`];
  }
}

function dumpedData(name: string, data: Record<string, string>): Record<string, string> {
  const shown = (key: string, text: string) => {
    if (name === CONTROLLER_MANAGER) return redactText(text);
    return key === 'server.conf' ? '(in a file of its own)' : `(left out, ${text.length} characters)`;
  };
  return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, shown(key, text)]));
}

/** Environment variables keep their names only. */
function withoutValues(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutValues);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      if (key !== 'env' || !Array.isArray(member)) return [key, withoutValues(member)];
      const variables = member as { value?: string }[];
      return [key, variables.map((each) => (each.value === undefined ? each : { ...each, value: REDACTED }))];
    }),
  );
}
