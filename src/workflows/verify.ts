import { isCancellation } from '@temporalio/workflow';
import type { AwaitBundlesRequest, ReadFactsRequest } from '../contract/activities.js';
import type { VerifyInput } from '../contract/change.js';
import type { ClusterFacts, Problem } from '../contract/facts.js';
import type { KnownMember } from '../contract/monitor.js';
import { edgeName } from '../contract/names.js';
import { worstVerdict, type Check, type VerifyResult } from '../contract/verify.js';
import { boundedChecks } from '../federation/check.js';
import { ownRelationship } from '../federation/relationship.js';
import { orphanChecks, verifyFederation, type MemberObservation } from '../federation/verify.js';
import { part, runStep, type StepName } from './activities.js';
import { nothingFound, verifyFailure } from './failure.js';
import { askMembers } from './members.js';

const ATTEMPTS = 3;
/** What a change has seen so recently it does not ask again: each endpoint was compared with the own bundle meanwhile. */
const PROVEN_MS = 30_000;
const VERIFY: StepName = { id: 'verify', title: 'Verify' };

/** Looks at a federation and changes nothing: every cluster and every edge, each check with evidence and remedy. */
export async function verify(input: VerifyInput): Promise<VerifyResult> {
  const { federation } = input;
  const clusters = input.clusters.length > 0 ? input.clusters : await possibleMembers(federation);
  const members = await observeMembers(VERIFY, federation, clusters);
  const read = members.flatMap((member) => member.facts ?? []);
  const isWhole = input.clusters.length === 0 && read.length === members.length;
  const checks = [...verifyFederation(federation, members), ...(isWhole ? orphanChecks(federation, read) : [])];
  return {
    federation,
    clusters: [...clusters],
    verdict: worstVerdict(checks),
    checks: boundedChecks(federation, checks),
  };
}

/** Members, and clusters that cannot be asked whether they are: the checks say so of them. */
export async function possibleMembers(federation: string): Promise<string[]> {
  const found = await askMembers(federation, ATTEMPTS);
  const { members, unknown } = found;
  if (members.length === 0) throw nothingFound(federation, found);
  return [...members, ...unknown.map(({ cluster }) => cluster)];
}

/**
 * The last step of a change: fails with all that is not as it must be. The endpoints are not asked again: the steps
 * before this one proved them, by the engine's own eyes and by a fetch of each peer. Nor do outcomes of ClusterSPIFFEIDs
 * count: most are somebody else's, and SPIRE controller manager reports on them up to 10 s late. A peer that made another
 * key meanwhile, as each does by itself twice a day, is no failure: it is fetched.
 * @param storedReadings by cluster, those that need not be repeated while they are recent
 */
export async function verifyMembers(
  step: StepName,
  federation: string,
  clusters: readonly string[],
  storedReadings: ReadonlyMap<string, string>,
  waiting: Waiting,
): Promise<ClusterFacts[]> {
  let members = await readMembers(step, federation, clusters, [], (cluster) => {
    const storedReading = storedReadings.get(cluster);
    return { maxAgeMs: PROVEN_MS, ...(storedReading === undefined ? {} : { storedReading }) };
  });
  let wrong = wrongOf(federation, members);
  if (wrong.length > 0 && wrong.every(({ name }) => name === 'stored-bundle')) {
    await fetchMissing(step, federation, members, wrong, waiting);
    members = await readMembers(part(step, 'again'), federation, clusters, []);
    wrong = wrongOf(federation, members);
  }
  if (wrong.length > 0) throw verifyFailure(wrong);
  return members.map((member) => member.facts).filter((facts) => facts !== undefined);
}

function wrongOf(federation: string, members: readonly MemberObservation[]): Check[] {
  return verifyFederation(federation, members).filter(
    ({ name, verdict }) => name !== 'identity' && (verdict === 'failed' || verdict === 'unknown'),
  );
}

/** How long a bundle may take to arrive, and how. */
type Waiting = Pick<AwaitBundlesRequest, 'refreshHintSeconds' | 'timeoutMs'>;

/** Has each cluster fetch the bundles that it lacks keys of; what came of it is for the look that follows. */
async function fetchMissing(
  step: StepName,
  federation: string,
  members: readonly MemberObservation[],
  missing: readonly Check[],
  waiting: Waiting,
): Promise<void> {
  const facts = members.flatMap((member) => member.facts ?? []);
  const fetched = facts.map(async (trusting) => {
    const { cluster } = trusting;
    const peers = facts
      .filter((trusted) => missing.some(({ scope }) => scope === edgeName(cluster, trusted.cluster)))
      .flatMap((trusted) => {
        const relationship = ownRelationship(trusting, trusted, federation);
        return relationship === undefined
          ? []
          : [{ cluster: trusted.cluster, relationship, keyIds: trusted.bundle.keyIds, managed: true }];
      });
    if (peers.length === 0) return;
    const request = { cluster, federation, peers, relationships: 'dynamic' as const, ...waiting };
    try {
      await runStep('awaitBundles', part(step, `bundles ${cluster}`), ATTEMPTS, request);
    } catch (error) {
      if (isCancellation(error)) throw error;
    }
  });
  await Promise.all(fetched);
}

function readMembers(
  step: StepName,
  federation: string,
  clusters: readonly string[],
  unread: readonly Problem[],
  reuse: (cluster: string) => Pick<ReadFactsRequest, 'maxAgeMs' | 'storedReading'> = () => ({}),
): Promise<MemberObservation[]> {
  return Promise.all(
    clusters.map(async (cluster) => {
      const known = unread.filter((problem) => problem.cluster === cluster);
      if (known.length > 0) return { cluster, problems: known };
      const request = { cluster, federation, ...reuse(cluster) };
      const { facts, problems } = await runStep('readFacts', part(step, `read ${cluster}`), ATTEMPTS, request);
      return { cluster, problems, ...(facts === undefined ? {} : { facts }) };
    }),
  );
}

/**
 * @param unread clusters that could not be read just now, and why: they are not asked again
 * @param members what is known of those that cannot be read
 */
export async function observeMembers(
  step: StepName,
  federation: string,
  clusters: readonly string[],
  unread: readonly Problem[] = [],
  members: readonly KnownMember[] = [],
): Promise<MemberObservation[]> {
  const read = await readMembers(step, federation, clusters, unread);
  return Promise.all(
    read.map(async ({ cluster, facts, problems }): Promise<MemberObservation> => {
      if (facts === undefined) {
        const trustDomain = members.find((member) => member.cluster === cluster)?.trustDomain;
        return { cluster, problems, ...(trustDomain === undefined ? {} : { trustDomain }) };
      }
      const peers = read.flatMap((each) => (each.facts && each.cluster !== cluster ? [each.facts.trustDomain] : []));
      const { endpointUrl } = facts;
      const observation = await runStep('observe', part(step, `ask ${cluster}`), ATTEMPTS, {
        cluster,
        federation,
        peers,
        ...(endpointUrl === undefined ? {} : { endpointUrl }),
      });
      return { cluster, facts, observation, problems };
    }),
  );
}
