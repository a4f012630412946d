import { parse } from 'yaml';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { CONTROLLER_MANAGER, DEFAULT_CLASS_NAME } from '../contract/names.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { readObject } from '../kubernetes/objects.js';
import { remembered } from '../spire/remembered.js';

/** What SPIRE controller manager's configuration says, as far as it matters here. */
export interface ControllerManagerSettings {
  /** Absent where it is not said. */
  className?: string;
  /** It acts on objects without a class as well. */
  watchClassless: boolean;
  /** Regular expressions that match anywhere in a namespace's name. */
  ignoreNamespaces: string[];
}

/** What it ignores unless told otherwise (spire-controller-manager: cmd/main.go). */
const IGNORED_BY_DEFAULT = ['kube-system', 'kube-public', 'spire-system'];

/** Reads the ConfigMap of SPIRE controller manager. */
export async function readControllerManager(connection: ClusterConnection): Promise<ControllerManagerSettings> {
  const { namespace } = connection.cluster;
  const map = await readObject<KubernetesObject & { data?: Record<string, string> }>(connection, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: CONTROLLER_MANAGER, namespace },
  });
  const texts = Object.values(map?.data ?? {});
  const className = /^\s*"?className"?\s*:\s*"?([^\s",]+)/m.exec(texts.join('\n'))?.[1];
  const watchClassless = /^\s*"?watchClassless"?\s*:\s*"?true\b/m.test(texts.join('\n'));
  const ignored = texts.flatMap((text) => readIgnored(text).namespaces ?? []);
  return {
    ...(className === undefined ? {} : { className }),
    watchClassless,
    ignoreNamespaces: ignored.length > 0 ? ignored : IGNORED_BY_DEFAULT,
  };
}

/** The class of the objects that it acts on. */
export function watchedClass({ cluster }: ClusterConnection, settings: ControllerManagerSettings | undefined): string {
  return cluster.className ?? settings?.className ?? DEFAULT_CLASS_NAME;
}

const readIgnored = remembered((text: string): { namespaces?: string[] } => {
  try {
    const namespaces = (parse(text) as { ignoreNamespaces?: string[] } | null)?.ignoreNamespaces;
    return namespaces === undefined ? {} : { namespaces };
  } catch {
    // A key of the ConfigMap that is no YAML is not the configuration.
    return {};
  }
});
