import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { PodIdentitySource, type IdentityState } from './delegatedIdentity.js';
import { spireServices } from './spireProtos.js';
import { removeSvidFiles, writeSvidFiles } from './svidFiles.js';
import { workloadApiHandlers } from './workloadApiHandlers.js';

/** The socket's name in a volume of the SPIFFE CSI driver. */
export const WORKLOAD_API_SOCKET = 'spire-agent.sock';

/** sockaddr_un.sun_path has 108 bytes, the last of which is zero. */
const MAX_SOCKET_PATH_BYTES = 107;

export interface WorkloadApiOptions {
  /** Admin socket of the SPIRE agent, whose `authorized_delegates` names this process's SPIFFE ID. */
  adminSocketPath: string;
  /** The pod whose identity is served: that of the registration entries with the selector `k8s:pod-uid:<uid>`. */
  podUid: string;
  /** Where the socket and the files go; made when it is not there. */
  socketDirectory: string;
  /** Takes a line for each change of the pod's identity and each kind of failure. */
  log: (message: string) => void;
}

export interface ServedWorkloadApi {
  /** Ends all calls, and removes the socket and the files. */
  close: () => Promise<void>;
}

/**
 * Gives one pod what SPIFFE's CSI driver and spiffe-helper give it: the Workload API on spire-agent.sock, and svid.pem,
 * svid-key.pem and bundle.pem beside it, both kept up to date. Resolves once the socket is there; the identity may come
 * and go later. While the agent is away, callers get UNAVAILABLE and the files stay.
 *
 * Rejects when the socket cannot be made (a path of more than 107 bytes, for one) or SPIRE's .proto files are not there.
 */
export async function serveWorkloadApi(options: WorkloadApiOptions): Promise<ServedWorkloadApi> {
  const { adminSocketPath, podUid, socketDirectory, log } = options;
  const socketPath = path.join(socketDirectory, WORKLOAD_API_SOCKET);
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH_BYTES) {
    throw new Error(`the socket's path is longer than ${MAX_SOCKET_PATH_BYTES} bytes: ${socketPath}`);
  }
  mkdirSync(socketDirectory, { recursive: true });
  // Of a process that was killed.
  rmSync(socketPath, { force: true });
  removeSvidFiles(socketDirectory);

  const source = new PodIdentitySource(adminSocketPath, podUid, log);
  source.onChange((state) => keepFiles(socketDirectory, state, log));
  const server = new Server();
  server.addService(spireServices().workloadApi, workloadApiHandlers(source));
  const close = async (): Promise<void> => {
    source.close();
    server.forceShutdown();
    removeSvidFiles(socketDirectory);
    rmSync(socketPath, { force: true });
  };
  try {
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  } catch (error) {
    await close();
    throw error;
  }
  source.start();
  return { close };
}

function keepFiles(directory: string, state: IdentityState, log: (message: string) => void): void {
  try {
    if (state.kind === 'issued') {
      writeSvidFiles(directory, state.identity);
      const { svids, bundles } = state.identity;
      log(`${svids.map(({ spiffeId }) => spiffeId).join(', ')}, bundles of ${Object.keys(bundles).join(', ')}`);
    } else if (state.kind === 'none') {
      removeSvidFiles(directory);
      log('no identity');
    }
  } catch (error) {
    // The volume's folder is gone, or the disk is full; the Workload API goes on.
    log(`the SVID's files cannot be written: ${(error as Error).message}`);
  }
}
