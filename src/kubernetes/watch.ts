import { setTimeout as delay } from 'node:timers/promises';
import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { outsideOfSpans } from '../tracing/span.js';
import type { ClusterConnection } from './connect.js';
import { collectionPath, listWithVersion, type ListReference } from './objects.js';
import { linesOf, openStream } from './stream.js';

/** The API server says at least once a minute how far a watch has come (kube-apiserver: bookmarkFrequency). */
const SILENT_AFTER_MS = 150_000;
/** First and longest pause before a watch that broke is opened again. */
const RETRY_MS = { first: 500, longest: 30_000 } as const;

interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: KubernetesObject;
}

/**
 * Objects of one kind as they are now, kept current by one long request instead of one request per look. While the
 * watch does not work, every look asks the API server, so that what is returned is never older than it was thought to be.
 */
export class WatchedObjects {
  private objects = new Map<string, KubernetesObject>();
  private synced = false;
  private heardAt = 0;
  private closing = new AbortController();
  private attempt: AbortController | undefined;
  private started = false;

  constructor(
    private readonly connection: ClusterConnection,
    private readonly reference: ListReference,
  ) {}

  /** @throws FederatorError as the request for a list does */
  async read(): Promise<KubernetesObject[]> {
    if (this.synced && Date.now() - this.heardAt < SILENT_AFTER_MS) return [...this.objects.values()];
    // A connection that died without a word is given up.
    if (this.synced) this.attempt?.abort(new Error('the watch went silent'));
    const { items, resourceVersion } = await listWithVersion(this.connection, this.reference);
    if (!this.started && !this.closing.signal.aborted) {
      this.started = true;
      this.take(items);
      outsideOfSpans(() => void this.run(resourceVersion));
    }
    return items;
  }

  close(): void {
    this.closing.abort(new Error('closed'));
    this.synced = false;
  }

  private async run(version: string): Promise<void> {
    let from: string | undefined = version;
    let pause: number = RETRY_MS.first;
    const { signal } = this.closing;
    while (!signal.aborted) {
      try {
        if (from === undefined) {
          const { items, resourceVersion } = await listWithVersion(this.connection, this.reference);
          this.take(items);
          from = resourceVersion;
        }
        from = await this.follow(from);
        pause = RETRY_MS.first;
      } catch (error) {
        this.synced = false;
        from = undefined;
        if (signal.aborted) return;
        // Whoever reads meanwhile asks for a list, and is told what is wrong.
        if (!(error instanceof Error)) throw error;
        await delay(pause, undefined, { signal }).catch(() => undefined);
        pause = Math.min(pause * 2, RETRY_MS.longest);
      }
    }
  }

  /** Follows one watch to its regular end. @returns from where to go on; undefined when only a list can tell */
  private async follow(from: string): Promise<string | undefined> {
    const attempt = new AbortController();
    this.attempt = attempt;
    const signal = AbortSignal.any([attempt.signal, this.closing.signal]);
    const { apiVersion, kind, namespace, name, labelSelector } = this.reference;
    const stream = await openStream(
      this.connection,
      {
        path: collectionPath(apiVersion, kind, namespace),
        query: {
          watch: '1',
          allowWatchBookmarks: 'true',
          resourceVersion: from,
          ...(name === undefined ? {} : { fieldSelector: `metadata.name=${name}` }),
          ...(labelSelector === undefined ? {} : { labelSelector }),
        },
        attempt: `watch ${kind}s`,
      },
      signal,
    );
    this.synced = true;
    this.heardAt = Date.now();
    let version = from;
    for await (const line of linesOf(stream)) {
      const { type, object } = JSON.parse(line) as WatchEvent;
      this.heardAt = Date.now();
      // Too old a version, mostly: what happened since is not known any more.
      if (type === 'ERROR') {
        this.synced = false;
        return undefined;
      }
      version = object.metadata.resourceVersion ?? version;
      if (type === 'DELETED') this.objects.delete(keyOf(object));
      else if (type !== 'BOOKMARK') this.objects.set(keyOf(object), { ...object, apiVersion, kind });
    }
    return version;
  }

  private take(items: readonly KubernetesObject[]): void {
    this.objects = new Map(items.map((object) => [keyOf(object), object]));
    this.heardAt = Date.now();
  }
}

function keyOf({ metadata }: KubernetesObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

/** The objects of one cluster that somebody looks at again and again; what nobody looks at any more is let go. */
export class ClusterWatches {
  private readonly watches = new Map<string, { objects: WatchedObjects; usedAt: number }>();

  constructor(private readonly connection: ClusterConnection) {}

  /** @throws FederatorError as the request for a list does; a kind that the cluster does not know has no objects */
  async read(reference: ListReference): Promise<KubernetesObject[]> {
    this.letGo();
    const key = JSON.stringify(reference);
    let watch = this.watches.get(key);
    if (watch === undefined) {
      watch = { objects: new WatchedObjects(this.connection, reference), usedAt: 0 };
      this.watches.set(key, watch);
    }
    watch.usedAt = Date.now();
    try {
      return await watch.objects.read();
    } catch (error) {
      if (error instanceof FederatorError && error.type === 'NotFound') return [];
      throw error;
    }
  }

  close(): void {
    for (const { objects } of this.watches.values()) objects.close();
    this.watches.clear();
  }

  private letGo(): void {
    for (const [key, { objects, usedAt }] of this.watches) {
      if (Date.now() - usedAt < UNUSED_AFTER_MS) continue;
      objects.close();
      this.watches.delete(key);
    }
  }
}

/** Longer than the longest interval between two rounds (refresh hint 3600 s). */
const UNUSED_AFTER_MS = 45 * 60_000;
