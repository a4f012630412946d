import { Context } from '@temporalio/activity';
import type { ClusterRequest, StepOutcome } from '../contract/activities.js';
import { FederatorError } from '../contract/errors.js';
import type {
  AuthorityRequest,
  AwaitAuthorityRequest,
  HeldAuthority,
  PreparedAuthority,
} from '../contract/rotation.js';
import { waitFor, type Look } from '../kubernetes/wait.js';
import { authorityKeys } from '../spire/bundle.js';
import type { Clusters } from './clusters.js';

/** A forced fetch of a peer that hangs is given up after this. */
const REFRESH_MS = 10_000;
const LOOK_EVERY_MS = 1_000;

/** The CAs of SPIRE servers, in the steps of a rotation. Each may be taken again. */
export function authorityActivities(clusters: Clusters) {
  return {
    /**
     * Has a SPIRE server make its next CA, and put it into its bundle; one that is prepared already is taken.
     * @throws FederatorError InvalidInput where an upstream authority issues the CA
     */
    async prepareAuthority({ cluster }: ClusterRequest): Promise<PreparedAuthority> {
      const { spire } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const { active, prepared } = await spire.authorities(signal);
      const before = authorityKeys(await spire.bundle(signal));
      const activeKeyId = before.get(active ?? '');
      if (active === undefined || activeKeyId === undefined) {
        throw new FederatorError(
          'InvalidInput',
          `${cluster}: the active CA of SPIRE server is no root of its trust bundle, so an upstream authority issues it: its peers trust that authority, and notice nothing of a rotation. Rotate the upstream authority instead.`,
        );
      }
      if (prepared === undefined || !before.has(prepared)) await spire.prepareAuthority(signal);
      return waitFor(
        async (): Promise<Look<PreparedAuthority>> => {
          const { prepared: authorityId = '' } = await spire.authorities(signal);
          const keyId = authorityKeys(await spire.bundle(signal)).get(authorityId);
          if (keyId === undefined) return { done: false, seen: 'the bundle does not have it yet' };
          return { done: true, value: { authorityId, activeId: active, keyId, activeKeyId } };
        },
        { what: `${cluster}: the next CA is prepared, and in the bundle`, timeoutMs: 30_000, signal },
      );
    },

    /**
     * Waits until a SPIRE server holds a peer's key; has it fetch that bundle once an interval where it does not come.
     * @throws FederatorError TimedOut with what was seen last
     */
    async awaitAuthority(request: AwaitAuthorityRequest): Promise<HeldAuthority> {
      const { cluster, trustDomain, keyId, intervalMs, timeoutMs } = request;
      const { spire } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      let forced = 0;
      let fetchedAt = Date.now();
      let failed = '';
      const look = async (): Promise<Look<HeldAuthority>> => {
        const stored = (await spire.storedBundles(signal)).get(trustDomain);
        if (stored?.keys.some(({ id }) => id === keyId)) return { done: true, value: { at: Date.now(), forced } };
        if (Date.now() - fetchedAt > intervalMs) {
          fetchedAt = Date.now();
          forced++;
          failed = '';
          try {
            await spire.refresh(trustDomain, signal, REFRESH_MS);
          } catch (error) {
            if (!(error instanceof FederatorError)) throw error;
            failed = error.message;
          }
        }
        return { done: false, seen: failed || (stored === undefined ? 'no bundle is stored' : 'the key is not in it') };
      };
      return waitFor(look, {
        what: `${cluster} holds the next CA of ${trustDomain}`,
        timeoutMs,
        signal,
        intervalMs: LOOK_EVERY_MS,
        maxIntervalMs: LOOK_EVERY_MS,
      });
    },

    async activateAuthority({ cluster, authorityId }: AuthorityRequest): Promise<StepOutcome> {
      const { spire } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const { active } = await spire.authorities(signal);
      if (active === authorityId) return { changed: false };
      return outcome(await spire.changeAuthority('activate', authorityId, signal));
    },

    async taintAuthority({ cluster, authorityId }: AuthorityRequest): Promise<StepOutcome> {
      const { spire } = await clusters.get(cluster);
      return outcome(await spire.changeAuthority('taint', authorityId, Context.current().cancellationSignal));
    },

    async revokeAuthority({ cluster, authorityId }: AuthorityRequest): Promise<StepOutcome> {
      const { spire } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      if (!authorityKeys(await spire.bundle(signal)).has(authorityId)) return { changed: false };
      return outcome(await spire.changeAuthority('revoke', authorityId, signal));
    },
  };
}

function outcome(done: 'done' | 'was done before'): StepOutcome {
  return { changed: done === 'done' };
}
