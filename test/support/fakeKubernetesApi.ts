import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { clusterSchema } from '../../src/contract/inventory.js';
import { connectCluster, type ClusterConnection } from '../../src/kubernetes/connect.js';

/** A server in the place of a Kubernetes API, for the faults that a real one does not make on demand. */
export class FakeKubernetesApi {
  readonly server = http.createServer();
  private readonly folder = mkdtempSync(path.join(os.tmpdir(), 'federator-unit-'));
  private readonly sockets = new Set<Socket>();
  private readonly connections: ClusterConnection[] = [];

  static async start(): Promise<FakeKubernetesApi> {
    const api = new FakeKubernetesApi();
    api.server.on('connection', (socket) => {
      api.sockets.add(socket);
      socket.once('close', () => api.sockets.delete(socket));
      // HTTP leaves a connection half open that was to become another protocol.
      socket.once('end', () => socket.end());
    });
    await new Promise<void>((resolve) => api.server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  async stop(): Promise<void> {
    for (const connection of this.connections) connection.close();
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
    rmSync(this.folder, { recursive: true, force: true });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Connections that clients hold open. */
  get open(): number {
    return this.sockets.size;
  }

  /** Opens a cluster by a kubeconfig of its own. */
  async connect({
    name = 'fake',
    server = this.url,
    user = { token: 'token' },
  }: { name?: string; server?: string; user?: object } = {}): Promise<ClusterConnection> {
    const file = this.file(
      name,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name, cluster: { server, 'insecure-skip-tls-verify': true } }],
        users: [{ name: 'admin', user }],
        contexts: [{ name, context: { cluster: name, user: 'admin' } }],
        'current-context': name,
      }),
    );
    const connection = await connectCluster(clusterSchema.parse({ name, kubeconfig: { path: file } }));
    this.connections.push(connection);
    return connection;
  }

  /** Writes a file of the fake's own. @returns its path */
  file(name: string, content: string, mode = 0o600): string {
    const file = path.join(this.folder, name);
    writeFileSync(file, content, { mode });
    return file;
  }
}
