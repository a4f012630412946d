import { ActivityFailure, ApplicationFailure } from '@temporalio/workflow';
import type {
  ArrivalOutcome,
  AwaitBundlesRequest,
  ReadBundleOutcome,
  ReadBundleRequest,
} from '../contract/activities.js';
import type { FederatorErrorType } from '../contract/errors.js';
import { regionOf } from './regions.js';

const ELSEWHERE: FederatorErrorType = 'BundleElsewhere';

/**
 * Waits for the bundles of a cluster's peers. It asks a peer whose keys turn out to be others than they were read; where
 * only another region's workers can, these do.
 * @param wait runs the activity
 * @param read reads a peer's own bundle
 */
export async function awaitBundlesFrom(
  request: AwaitBundlesRequest,
  wait: (request: AwaitBundlesRequest) => Promise<ArrivalOutcome>,
  read: (request: ReadBundleRequest) => Promise<ReadBundleOutcome>,
): Promise<ArrivalOutcome> {
  const { cluster, federation, refreshHintSeconds, timeoutMs } = request;
  const deadline = Date.now() + timeoutMs;
  const readAgain = async (peer: AwaitBundlesRequest['peers'][number]) => {
    const [own, other] = [await regionOf(cluster), await regionOf(peer.cluster)];
    if (own?.name === other?.name) return peer;
    const { keyIds, bundle } = await read({ cluster: peer.cluster, federation, refreshHintSeconds, timeoutMs });
    return { ...peer, keyIds, bundle };
  };
  for (let { peers } = request; ; peers = await Promise.all(peers.map(readAgain))) {
    try {
      return await wait({ ...request, peers });
    } catch (error) {
      const cause = error instanceof ActivityFailure ? error.cause : error;
      const isElsewhere = cause instanceof ApplicationFailure && cause.type === ELSEWHERE;
      if (!isElsewhere || Date.now() >= deadline) throw error;
    }
  }
}
