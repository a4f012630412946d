import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import WebSocket from 'ws';
import type { KeyAndCertificate } from './pki.js';

export interface Resource {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    deletionTimestamp?: string;
    deletionGracePeriodSeconds?: number;
    ownerReferences?: { kind: string; name: string }[];
  };
  [key: string]: unknown;
}

/** Channel on which the outcome of a command comes (Kubernetes' v4.channel.k8s.io). */
const EXEC_STATUS = 3;

/** What the API server answered instead of what was wanted. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** No command could be run in a container. */
export class NoExec extends Error {}

interface ApiRequest {
  method?: string;
  body?: unknown;
  contentType?: string;
  timeoutMs?: number;
}

/** The sandbox's own, all-powerful door to one of its clusters. */
export class ClusterApi {
  private readonly agent: https.Agent;
  private readonly plurals = new Map<string, string>();

  constructor(
    private readonly server: string,
    ca: string,
    { key, certificate }: KeyAndCertificate,
  ) {
    this.agent = new https.Agent({
      keepAlive: true,
      maxSockets: 16,
      ca: readFileSync(ca),
      key: readFileSync(key),
      cert: readFileSync(certificate),
    });
  }

  close(): void {
    this.agent.destroy();
  }

  /** Sends a request and returns the answer's JSON. @throws ApiError, or the network's error */
  async request<T = unknown>(
    path: string,
    { method = 'GET', body, contentType, timeoutMs = 10_000 }: ApiRequest = {},
  ): Promise<T> {
    const response = await this.open(path, {
      method,
      body,
      ...(contentType === undefined ? {} : { contentType }),
      timeoutMs,
    });
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const status = response.statusCode ?? 0;
    if (status >= 300) throw new ApiError(status, `${method} ${path}: HTTP ${status}: ${text.slice(0, 500)}`);
    return (response.headers['content-type']?.includes('json') ? JSON.parse(text) : text) as T;
  }

  /** Reads an object; undefined when there is none. */
  async get<T = Resource>(path: string): Promise<T | undefined> {
    try {
      return await this.request<T>(path);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Server-side apply of any object; as a dry run it is checked in full, and not kept. */
  async apply(object: Resource, { dryRun = false } = {}): Promise<Resource> {
    const collection = await this.collection(object);
    const query = `fieldManager=sandbox&force=true${dryRun ? '&dryRun=All&fieldValidation=Strict' : ''}`;
    return this.request(`${collection}/${object.metadata.name}?${query}`, {
      method: 'PATCH',
      contentType: 'application/apply-patch+yaml',
      body: object,
    });
  }

  /** Makes an object. @throws ApiError 409 when there is one of that name */
  async create(object: Resource): Promise<Resource> {
    return this.request(await this.collection(object), { method: 'POST', body: object });
  }

  async exists(object: Resource): Promise<boolean> {
    try {
      await this.request(`${await this.collection(object)}/${object.metadata.name}`);
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return false;
      throw error;
    }
  }

  async patch(path: string, body: unknown): Promise<Resource> {
    return this.request(path, { method: 'PATCH', contentType: 'application/merge-patch+json', body });
  }

  /** Deletes an object; one that is gone already is no error. */
  async deleteObject(object: Resource): Promise<void> {
    await this.delete(`${await this.collection(object)}/${object.metadata.name}`);
  }

  async delete(path: string, gracePeriodSeconds?: number): Promise<void> {
    try {
      await this.request(path, {
        method: 'DELETE',
        body: gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds },
      });
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    }
  }

  /**
   * Runs a command that does nothing in a container.
   * @throws NoExec when it cannot be run, or not within 10 s
   */
  async tryExec(namespace: string, pod: string, container: string): Promise<void> {
    const query = new URLSearchParams({ container, command: 'true', stdout: 'true' }).toString();
    const url = `${this.server}/api/v1/namespaces/${namespace}/pods/${pod}/exec?${query}`;
    const socket = new WebSocket(url, 'v4.channel.k8s.io', { agent: this.agent });
    const timer = setTimeout(() => socket.terminate(), 10_000);
    try {
      const said = await new Promise<string>((resolve, reject) => {
        socket.on('message', (data: Buffer) => {
          if (data[0] === EXEC_STATUS) resolve(data.subarray(1).toString('utf8'));
        });
        socket.on('error', ({ message }) => reject(new NoExec(`${pod}: ${message}`)));
        socket.once('close', () => reject(new NoExec(`${pod}: no exec`)));
      });
      const { status, message } = JSON.parse(said) as { status: string; message?: string };
      if (status !== 'Success') throw new NoExec(`${pod}: ${message ?? said}`);
    } finally {
      clearTimeout(timer);
      socket.terminate();
    }
  }

  /**
   * Follows a collection for as long as the signal is not aborted: first what is there, then every change; over lost
   * connections and expired versions.
   */
  async watch(
    path: string,
    onChange: (type: 'ADDED' | 'MODIFIED' | 'DELETED', object: Resource) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const known = new Map<string, Resource>();
    const id = ({ metadata }: Resource) => `${metadata.namespace ?? ''}/${metadata.name}/${metadata.uid ?? ''}`;
    while (!signal.aborted) {
      try {
        const list = await this.request<{ items: Resource[]; metadata: { resourceVersion: string } }>(path);
        const present = new Set(list.items.map(id));
        for (const [key, object] of known) {
          if (present.has(key)) continue;
          known.delete(key);
          onChange('DELETED', object);
        }
        for (const object of list.items) {
          const type = known.has(id(object)) ? 'MODIFIED' : 'ADDED';
          known.set(id(object), object);
          onChange(type, object);
        }
        const separator = path.includes('?') ? '&' : '?';
        const from = `${path}${separator}watch=true&resourceVersion=${list.metadata.resourceVersion}`;
        const stream = await this.open(from, { signal });
        if (stream.statusCode !== 200) {
          stream.resume();
          continue;
        }
        for await (const line of createInterface({ input: stream })) {
          const event = JSON.parse(line) as { type: string; object: Resource };
          if (event.type === 'ERROR') break;
          if (event.type === 'DELETED') known.delete(id(event.object));
          else known.set(id(event.object), event.object);
          onChange(event.type as 'ADDED', event.object);
        }
      } catch (error) {
        if (signal.aborted) return;
        // The API server is away for a while, on purpose or not: ask again.
        if (!(error instanceof Error)) throw error;
        await delay(200, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  private open(path: string, options: ApiRequest & { signal?: AbortSignal }): Promise<IncomingMessage> {
    const { method = 'GET', body, contentType = 'application/json', timeoutMs, signal } = options;
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const request = https.request(
        `${this.server}${path}`,
        {
          agent: this.agent,
          method,
          headers: {
            accept: 'application/json',
            ...(text === undefined ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(text) }),
          },
          ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
          ...(signal === undefined ? {} : { signal }),
        },
        resolve,
      );
      request.once('timeout', () => request.destroy(new Error(`${method} ${path}: no answer within ${timeoutMs} ms`)));
      request.once('error', (error: NodeJS.ErrnoException) => {
        // The server may close an idle connection just as it is used again: that says nothing about the request.
        if (request.reusedSocket && error.code === 'ECONNRESET') this.open(path, options).then(resolve, reject);
        else reject(error);
      });
      request.end(text);
    });
  }

  /** Path of an object's collection; the plural of its kind comes from discovery. */
  private async collection({ apiVersion, kind, metadata }: Resource): Promise<string> {
    const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const key = `${apiVersion} ${kind}`;
    let plural = this.plurals.get(key);
    if (plural === undefined) {
      const { resources } = await this.request<{ resources: { name: string; kind: string }[] }>(base);
      plural = resources.find((resource) => resource.kind === kind && !resource.name.includes('/'))?.name;
      if (plural === undefined) throw new ApiError(404, `${apiVersion} has no ${kind} (yet)`);
      this.plurals.set(key, plural);
    }
    const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
    return `${base}${scope}/${plural}`;
  }
}

/** Tries until it works; for what becomes true by itself, such as a CRD being served. */
export async function eventually<T>(
  what: string,
  attempt: () => Promise<T>,
  timeoutMs = 60_000,
  intervalMs = 50,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > deadline)
        throw new Error(`Not within ${timeoutMs / 1000} s: ${what}: ${(error as Error).message}`, { cause: error });
      await delay(intervalMs);
    }
  }
}
