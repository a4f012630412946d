import type { V1Container } from '@kubernetes/client-node';
import { FederatorError } from '../contract/errors.js';
import type { Held, NotHeld } from '../contract/workload.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { execInPod, type ExecTarget } from '../kubernetes/exec.js';
import type { Pod } from '../kubernetes/rollout.js';
import { readAuthorities, readSvid } from '../spire/svid.js';

export const CSI_DRIVER = 'csi.spiffe.io';
const HELPER_IMAGE = /(^|\/)spiffe-helper(:|@|$)/;
/** Names that spiffe-helper's documentation gives the files, and those of the scripts that people begin with. */
const SVID_FILE = 'svid.pem';
const BUNDLE_FILES = ['bundle.pem', 'svid_bundle.pem'];
const EXEC_TIMEOUT_MS = 10_000;

/**
 * Looks into a pod for the SVID and the bundles that its workload holds, where that can be seen: in a workload that is the
 * probe, by asking it; else in the files that spiffe-helper keeps. Private keys are not read. It takes exec into the pod,
 * which the engine's account has nowhere unless somebody gave it (deploy/rbac-exec.yaml).
 */
export async function readHeld(
  connection: ClusterConnection,
  pod: Pod,
  probeImage: string,
  signal: AbortSignal,
): Promise<Held | NotHeld> {
  const { namespace = '', name } = pod.metadata;
  if (pod.status?.phase !== 'Running') return { unread: 'the pod does not run' };
  const reasons: string[] = [];
  try {
    for (const { container, folder } of places(pod, probeImage)) {
      const target = { namespace, pod: name, container };
      const found = await (folder === undefined
        ? askProbe(connection, target, signal)
        : readFiles(connection, target, folder, signal));
      if ('authorities' in found || found.noIdentity === true) return found;
      reasons.push(found.unread);
    }
  } catch (error) {
    if (!(error instanceof FederatorError)) throw error;
    return { unread: error.type === 'Forbidden' ? mayNot(namespace) : error.message };
  }
  if (reasons.length === 0)
    return { unread: `it mounts neither a ${CSI_DRIVER} volume nor one that a spiffe-helper fills` };
  return { unread: `${reasons.join('; ')}. What it holds in memory cannot be seen` };
}

/** Where to look: a container, and the folder of the files; none where the container is the probe. */
function places({ spec }: Pod, probeImage: string): { container: string; folder?: string }[] {
  const csi = (spec.volumes ?? []).filter((volume) => volume.csi?.driver === CSI_DRIVER).map((volume) => volume.name);
  const helpers = [...spec.containers, ...(spec.initContainers ?? [])].filter(({ image = '' }) =>
    HELPER_IMAGE.test(image),
  );
  const filled = new Set(helpers.flatMap(({ volumeMounts = [] }) => volumeMounts.map((mount) => mount.name)));
  const wanted = (spec.volumes ?? [])
    .filter((volume) => volume.emptyDir !== undefined && filled.has(volume.name))
    .map((volume) => volume.name);
  const repository = withoutTag(probeImage);
  return spec.containers
    .filter((container) => !helpers.includes(container))
    .flatMap((container): { container: string; folder?: string }[] =>
      withoutTag(container.image ?? '') === repository && mounted(container, csi).length > 0
        ? [{ container: container.name }]
        : mounted(container, [...wanted, ...csi]).map((folder) => ({ container: container.name, folder })),
    );
}

function mounted({ volumeMounts = [] }: V1Container, volumes: readonly string[]): string[] {
  return volumeMounts.filter(({ name }) => volumes.includes(name)).map(({ mountPath }) => mountPath.replace(/\/$/, ''));
}

function withoutTag(image: string): string {
  return image.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
}

/** What `probe show` prints. */
interface ProbeShow {
  ok: boolean;
  spiffeId?: string;
  otherIdentities?: string[];
  expiresAt?: string;
  bundles?: { trustDomain: string; sha256: string[] | null }[];
  reason?: string;
  error?: string;
}

async function askProbe(
  connection: ClusterConnection,
  target: ExecTarget,
  signal: AbortSignal,
): Promise<Held | NotHeld> {
  const { stdout, stderr } = await run(connection, target, ['./probe', 'show'], signal);
  let shown: ProbeShow;
  try {
    shown = JSON.parse(stdout) as ProbeShow;
  } catch {
    return { unread: `the probe in container ${target.container} said: ${stderr || stdout || 'nothing'}` };
  }
  const { ok, spiffeId = '', otherIdentities = [], expiresAt = '', bundles = [], reason, error = '' } = shown;
  if (!ok) return { unread: error, noIdentity: reason === 'no-identity' };
  return {
    source: `./probe show in container ${target.container}`,
    spiffeIds: [spiffeId, ...otherIdentities],
    expiresAt,
    authorities: [...new Set(bundles.flatMap(({ sha256 }) => sha256 ?? []))].sort(),
  };
}

async function readFiles(
  connection: ClusterConnection,
  target: ExecTarget,
  folder: string,
  signal: AbortSignal,
): Promise<Held | NotHeld> {
  const file = `${folder}/${SVID_FILE}`;
  const certificate = await run(connection, target, ['cat', file], signal);
  const svid = readSvid(certificate.stdout);
  if (svid === undefined) {
    const why = certificate.stderr.trim().split('\n')[0] || `cat ended with code ${certificate.exitCode}`;
    return { unread: `no SVID in ${file} of container ${target.container} (${why})` };
  }
  const authorities: string[] = [];
  for (const name of BUNDLE_FILES) {
    const bundle = await run(connection, target, ['cat', `${folder}/${name}`], signal);
    authorities.push(...readAuthorities(bundle.stdout));
    if (authorities.length > 0) break;
  }
  return {
    source: `${file} in container ${target.container}`,
    spiffeIds: [svid.spiffeId],
    expiresAt: svid.expiresAt,
    authorities,
  };
}

async function run(connection: ClusterConnection, target: ExecTarget, command: readonly string[], signal: AbortSignal) {
  const options = { timeoutMs: EXEC_TIMEOUT_MS, signal };
  const result = await execInPod(connection, target, command, options);
  // Exec over a web socket now and then loses the output of a command that succeeded.
  return result.exitCode === 0 && result.stdout === '' ? execInPod(connection, target, command, options) : result;
}

function mayNot(namespace: string): string {
  return `the engine's account may not exec into pods of namespace ${namespace}, and need not. To let it: kubectl apply -f deploy/rbac-exec.yaml; kubectl -n ${namespace} create rolebinding spire-federator-exec --clusterrole=spire-federator-exec --serviceaccount=spire-federator:spire-federator`;
}
