import { mkdirSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { WebSocketServer } from 'ws';
import { Authority } from '../sandbox/authority.js';
import type { KubernetesObject } from '../src/contract/kubernetes.js';
import { configDigest } from '../src/federation/configDigest.js';
import { fleetCluster, fleetLog, fleetObjects, type FleetCluster } from './fleetCluster.js';

/** Shorter than a client takes for silence. */
const BOOKMARK_MS = 60_000;

/** What whoever started the fleet needs to know: digests of the members' configuration, which is as it should be. */
export interface FleetReady {
  digests: Record<string, string>;
}

interface Member extends FleetCluster {
  peers: FleetCluster[];
  objects: Record<string, KubernetesObject[]>;
  storedList: string;
}

const members = new Map<string, Member>();
const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'v4.channel.k8s.io' });

/**
 * A fleet of clusters in one process, over real TLS: each has an API server (below a path of its own) that lists,
 * watches, runs commands and shows logs, and a bundle endpoint with an SVID of its own.
 */
async function main(folder: string, count: number, federation: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const clusters: FleetCluster[] = [];
  for (let index = 0; index < count; index++) clusters.push(await withEndpoint(`c${index}`));
  const startedAt = new Date(Date.now() - 3_600_000).toISOString();
  for (const cluster of clusters) {
    const peers = clusters.filter((each) => each !== cluster);
    members.set(cluster.name, {
      ...cluster,
      peers,
      objects: fleetObjects(cluster, peers, federation, startedAt),
      storedList: `{"bundles":[${peers.map(({ stored }) => stored).join(',')}],"next_page_token":""}`,
    });
  }
  const authority = await Authority.create('fleet');
  const { key, certificate } = await authority.issue({ subject: 'CN=fleet-api', addresses: ['127.0.0.1'] });
  const server = https.createServer({ key, cert: certificate }, answer);
  server.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (open) => {
      const channel = (number: number, text: string) =>
        open.send(Buffer.concat([Buffer.from([number]), Buffer.from(text)]));
      channel(1, output(request));
      channel(3, JSON.stringify({ status: 'Success' }));
    });
  });
  const port = await listen(server);
  const { certificate: ca } = await authority.pem();
  writeInventory(folder, clusters, port, ca);
  const digests = Object.fromEntries(
    [...members].map(([name, { objects }]) => {
      const configured = Object.values(objects)
        .flat()
        .filter(({ kind }) => kind !== 'Pod');
      const conf = (objects['configmaps']?.[0]?.['data'] as Record<string, string>)['server.conf'] ?? '';
      return [name, configDigest(configured, conf)];
    }),
  );
  process.send?.({ digests } satisfies FleetReady);
}

/** A member whose bundle endpoint listens. */
async function withEndpoint(name: string): Promise<FleetCluster> {
  let bundle = '';
  const server = https.createServer((_request, response) => response.end(bundle));
  const cluster = await fleetCluster(name, await listen(server));
  server.setSecureContext(cluster.tls);
  ({ bundle } = cluster);
  return cluster;
}

async function listen(server: https.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** The member that a request is for, and the path below its API server. */
function addressed(request: IncomingMessage): { member: Member; url: URL } {
  const url = new URL(request.url ?? '', 'https://fleet');
  const [, name = '', ...rest] = url.pathname.split('/');
  const member = members.get(name);
  if (member === undefined) throw new Error(`there is no cluster ${name}`);
  url.pathname = `/${rest.join('/')}`;
  return { member, url };
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { member, url } = addressed(request);
  const { pathname, searchParams } = url;
  if (pathname.endsWith('/log')) {
    response.end(fleetLog(member.peers, Number(searchParams.get('sinceSeconds')), Date.now()));
    return;
  }
  const items = member.objects[pathname.split('/').at(-1) ?? ''];
  response.setHeader('content-type', 'application/json');
  if (items === undefined) {
    response.writeHead(404).end(JSON.stringify({ kind: 'Status', code: 404, message: `${pathname} not found` }));
    return;
  }
  if (searchParams.get('watch') === null) {
    response.end(JSON.stringify({ kind: 'List', metadata: { resourceVersion: '1' }, items }));
    return;
  }
  response.flushHeaders();
  const bookmark = `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '1' } } })}\n`;
  const timer = setInterval(() => response.write(bookmark), BOOKMARK_MS);
  response.once('close', () => clearInterval(timer));
}

/** What SPIRE server's command line prints. */
function output(request: IncomingMessage): string {
  const { member, url } = addressed(request);
  const [, ...args] = url.searchParams.getAll('command');
  if (args[0] === 'bundle' && args[1] === 'show') return member.bundle;
  if (args[0] === 'bundle' && args[1] === 'list') return member.storedList;
  if (args[0] === 'agent' && args[1] === 'count') return JSON.stringify({ count: 1 });
  throw new Error(`the fleet does not know the command ${args.join(' ')}`);
}

function writeInventory(folder: string, clusters: readonly FleetCluster[], port: number, ca: string): void {
  const inventory = clusters.map(({ name, endpointUrl }) => {
    const server = `https://127.0.0.1:${port}/${name}`;
    const kubeconfig = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name, cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
      users: [{ name, user: { token: 'fleet' } }],
      contexts: [{ name, context: { cluster: name, user: name } }],
      'current-context': name,
    };
    writeFileSync(path.join(folder, name), JSON.stringify(kubeconfig));
    return { name, kubeconfig: { path: name }, exposure: { type: 'address', url: endpointUrl } };
  });
  writeFileSync(path.join(folder, 'inventory.yaml'), JSON.stringify({ clusters: inventory }));
}

const [folder = '', count = '', federation = ''] = process.argv.slice(2);
process.once('disconnect', () => process.exit());
await main(folder, Number(count), federation);
