import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ClusterApi, Resource } from './kubernetes.js';
import { writeKubeconfig } from './pki.js';
import { serveWorkloadApi } from './workloadApi.js';

export const SPIFFE_CSI_DRIVER = 'csi.spiffe.io';

interface ConfigMapSource {
  name?: string;
  items?: { key: string; path: string }[];
}

export interface Volume {
  name: string;
  configMap?: ConfigMapSource;
  secret?: { secretName: string };
  emptyDir?: object;
  hostPath?: { path: string };
  projected?: {
    sources: {
      serviceAccountToken?: { path: string; audience?: string; expirationSeconds?: number };
      configMap?: ConfigMapSource;
      downwardAPI?: { items: { path: string; fieldRef?: { fieldPath: string } }[] };
    }[];
  };
  csi?: { driver: string };
}

/** What a pod's volumes are made of on this machine. */
export interface VolumeHost {
  cluster: string;
  api: ClusterApi;
  server: string;
  ca: string;
  /** Folder of the pod; its volumes go below it. */
  podFolder: string;
  /** Short folder for volumes that hold sockets. */
  socketFolder: string;
  /** Stands for the node's file system. */
  hostFolder: string;
  /** The agent's admin socket; undefined while there is no agent. */
  adminSocket: () => string | undefined;
  log: (message: string) => void;
}

export interface MountedVolumes {
  /** Local folder of each volume by its name. */
  folders: Map<string, string>;
  close: () => Promise<void>;
}

/** A volume that cannot be mounted yet, e.g. for want of its ConfigMap; a kubelet waits for it and tries again. */
export class NotMountable extends Error {}

/** Makes the folders of a pod's volumes. @throws NotMountable */
export async function mountVolumes(pod: Resource, volumes: Volume[], host: VolumeHost): Promise<MountedVolumes> {
  const folders = new Map<string, string>();
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(closers.map((each) => each()));
  };
  try {
    for (const [index, volume] of volumes.entries()) {
      if (volume.hostPath !== undefined) {
        folders.set(volume.name, folder(path.join(host.hostFolder, volume.hostPath.path)));
      } else if (volume.emptyDir !== undefined) {
        folders.set(volume.name, folder(path.join(host.socketFolder, String(index))));
      } else if (volume.csi?.driver === SPIFFE_CSI_DRIVER) {
        const target = folder(path.join(host.socketFolder, String(index)));
        const adminSocketPath = host.adminSocket();
        if (adminSocketPath === undefined) throw new NotMountable('the SPIRE agent of the node is not there');
        const served = await serveWorkloadApi({
          adminSocketPath,
          podUid: pod.metadata.uid ?? '',
          socketDirectory: target,
          log: host.log,
        });
        closers.push(() => served.close());
        folders.set(volume.name, target);
      } else {
        folders.set(volume.name, await writeFiles(pod, volume, host));
      }
    }
    return { folders, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Volumes that hold files of the cluster: written aside, then put in place at once. */
async function writeFiles(pod: Resource, volume: Volume, host: VolumeHost): Promise<string> {
  const target = path.join(host.podFolder, 'volumes', volume.name);
  const fresh = `${target}.new`;
  rmSync(fresh, { recursive: true, force: true });
  folder(fresh);
  const { namespace = '' } = pod.metadata;
  if (volume.configMap !== undefined) await writeConfigMap(fresh, namespace, volume.configMap, host);
  else if (volume.secret !== undefined) await writeSecret(fresh, namespace, volume.secret.secretName, host);
  else if (volume.projected !== undefined) {
    for (const source of volume.projected.sources) {
      if (source.configMap !== undefined) await writeConfigMap(fresh, namespace, source.configMap, host);
      if (source.serviceAccountToken !== undefined) await writeToken(fresh, pod, source.serviceAccountToken, host);
      for (const item of source.downwardAPI?.items ?? []) {
        if (item.fieldRef?.fieldPath === 'metadata.namespace') writeFileSync(path.join(fresh, item.path), namespace);
      }
    }
  } else {
    throw new NotMountable(`volume ${volume.name} is of a kind that the sandbox does not know`);
  }
  if (existsSync(target)) {
    // Files that are open stay as they are; whoever reads again sees the new ones.
    cpSync(fresh, target, { recursive: true, force: true });
    rmSync(fresh, { recursive: true, force: true });
  } else {
    renameSync(fresh, target);
  }
  return target;
}

async function writeConfigMap(
  target: string,
  namespace: string,
  source: ConfigMapSource,
  { api }: VolumeHost,
): Promise<void> {
  const map = await api.get<Resource & { data?: Record<string, string> }>(
    `/api/v1/namespaces/${namespace}/configmaps/${source.name}`,
  );
  if (map === undefined) throw new NotMountable(`configmap "${source.name}" not found`);
  const data = map.data ?? {};
  // SPIRE's agent must not start before the server has published its bundle.
  if (source.name === 'spire-bundle' && data['bundle.crt'] === undefined)
    throw new NotMountable('SPIRE server has not published its bundle');
  const items = source.items ?? Object.keys(data).map((key) => ({ key, path: key }));
  for (const { key, path: file } of items) writeFileSync(path.join(target, file), data[key] ?? '');
}

async function writeSecret(target: string, namespace: string, name: string, { api }: VolumeHost): Promise<void> {
  const secret = await api.get<Resource & { data?: Record<string, string> }>(
    `/api/v1/namespaces/${namespace}/secrets/${name}`,
  );
  if (secret === undefined) throw new NotMountable(`secret "${name}" not found`);
  for (const [key, value] of Object.entries(secret.data ?? {})) {
    writeFileSync(path.join(target, key), Buffer.from(value, 'base64'), { mode: 0o600 });
  }
}

async function writeToken(
  target: string,
  pod: Resource,
  { path: file, audience }: { path: string; audience?: string },
  { api, cluster, server, ca }: VolumeHost,
): Promise<void> {
  const { name, namespace = '', uid } = pod.metadata;
  const { serviceAccountName = 'default' } = pod['spec'] as { serviceAccountName?: string };
  const review = await api.request<{ status: { token: string } }>(
    `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccountName}/token`,
    {
      method: 'POST',
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          ...(audience === undefined ? {} : { audiences: [audience] }),
          // The sandbox does not renew tokens: they last longer than it does.
          expirationSeconds: 365 * 24 * 3600,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
        },
      },
    },
  );
  const { token } = review.status;
  writeFileSync(path.join(target, file), token, { mode: 0o600 });
  // In-cluster configuration lives at a fixed path, which a process of this machine cannot have: a kubeconfig instead.
  if (audience === undefined) {
    writeKubeconfig(path.join(target, 'kubeconfig'), {
      name: `${cluster}-${serviceAccountName}`,
      server,
      ca,
      user: { token },
    });
  }
}

function folder(at: string): string {
  mkdirSync(at, { recursive: true, mode: 0o700 });
  return at;
}
