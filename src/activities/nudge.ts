import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { NUDGE } from '../contract/names.js';
import { owningFederation } from '../federation/ownership.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { patchObject, readObject } from '../kubernetes/objects.js';

/** SPIRE controller manager acts on what it hears within this, unless it has forgotten it; a nudge may be forgotten too. */
const FORGOTTEN_AFTER_MS = 500;

/**
 * Makes SPIRE controller manager look again. It forgets changes of its objects that it hears of while it works on others
 * of their kind, and works on them only 10 s later (spire-controller-manager: pkg/reconciler/reconciler.go, Trigger drops
 * what nobody waits for; gcInterval). Any change of any object of a kind makes it look at all of that kind.
 */
export class Nudge {
  private dueAt: number;

  constructor(
    private readonly connection: ClusterConnection,
    private readonly federation: string,
    private readonly kind: Pick<KubernetesObject, 'apiVersion' | 'kind'>,
    firstAfterMs = FORGOTTEN_AFTER_MS,
  ) {
    this.dueAt = Date.now() + firstAfterMs;
  }

  /**
   * To be called again and again while an object is not acted on: does nothing until that has lasted a while.
   * @param names of the objects: the first of the federation's own is touched
   * @param isActedOn tells by its live state that an object needs no reminder
   */
  async whileMissing(
    names: readonly string[],
    isActedOn: (live: KubernetesObject) => boolean = () => false,
  ): Promise<void> {
    if (names.length === 0 || Date.now() < this.dueAt) return;
    this.dueAt = Date.now() + FORGOTTEN_AFTER_MS;
    for (const name of names) {
      const live = await readObject(this.connection, { ...this.kind, metadata: { name } });
      if (live === undefined || owningFederation(live) !== this.federation || isActedOn(live)) continue;
      return this.touch(name);
    }
  }

  private async touch(name: string): Promise<void> {
    try {
      try {
        await this.annotate(name, new Date().toISOString());
      } finally {
        // The object stays as it was.
        await this.annotate(name, null);
      }
    } catch (error) {
      // It was deleted meanwhile: whoever waits for it is told by what is missing.
      if (!(error instanceof FederatorError && error.type === 'NotFound')) throw error;
    }
  }

  private async annotate(name: string, value: string | null): Promise<void> {
    await patchObject(this.connection, { ...this.kind, metadata: { name, ...{ annotations: { [NUDGE]: value } } } });
  }
}
