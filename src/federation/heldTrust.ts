import type {
  EntryFacts,
  Held,
  KeysPresent,
  PodFacts,
  TrustDomainAuthorities,
  TrustReport,
  WorkloadFacts,
  WorkloadReport,
} from '../contract/workload.js';

/**
 * Which keys a workload has, and which it should have: of its own trust domain, of those that its entries federate with,
 * and of those that it holds though none does. Pure.
 * @param current keys of trust domains by their own SPIRE servers, as far as these could be asked
 */
export function judgeTrust(
  facts: WorkloadFacts,
  { held }: PodFacts,
  entries: readonly EntryFacts[],
  current: readonly TrustDomainAuthorities[],
): TrustReport[] {
  const federated = new Set(entries.flatMap((entry) => entry.federatesWith));
  const wanted = entries.length === 0 ? new Set<string>() : new Set([facts.trustDomain, ...federated]);
  const holds = (authorities: readonly string[]) =>
    'authorities' in held && authorities.some((each) => held.authorities.includes(each));
  const superfluous = [facts, ...current]
    .filter(({ trustDomain, authorities }) => !wanted.has(trustDomain) && holds(authorities))
    .map(({ trustDomain }) => trustDomain);
  return [...new Set([...wanted, ...superfluous])].map((trustDomain) => {
    const own = trustDomain === facts.trustDomain;
    const peer = own ? facts : current.find((each) => each.trustDomain === trustDomain);
    // Whose server cannot be asked, is judged by what the workload's own server stores.
    const authorities = peer?.authorities ?? facts.storedBundles[trustDomain];
    return {
      trustDomain,
      wanted: wanted.has(trustDomain),
      ...(peer === undefined ? {} : { cluster: peer.cluster }),
      ...(own || peer === undefined
        ? {}
        : { stored: keysPresent(facts.storedBundles[trustDomain] ?? [], peer.authorities) }),
      ...('authorities' in held && authorities !== undefined
        ? { held: keysPresent(held.authorities, authorities) }
        : {}),
    };
  });
}

function keysPresent(there: readonly string[], current: readonly string[]): KeysPresent {
  return { present: current.filter((each) => there.includes(each)).length, of: current.length };
}

/** What is odd about what a workload holds, each with a remedy. @param now milliseconds since the Unix epoch */
export function heldFindings(
  facts: WorkloadFacts,
  pod: PodFacts,
  entries: readonly EntryFacts[],
  trust: readonly TrustReport[],
  now: number,
): WorkloadReport['findings'] {
  return [
    ...agentFindings(facts, pod, entries, now),
    ...trust.flatMap((each) => trustFindings(facts.cluster, pod, each)),
    ...('authorities' in pod.held ? svidFindings(pod, pod.held, entries, now) : []),
  ];
}

function agentFindings(
  { agents }: WorkloadFacts,
  pod: PodFacts,
  entries: readonly EntryFacts[],
  now: number,
): WorkloadReport['findings'] {
  const node = pod.nodeName ?? 'of the pod';
  const parents = [...new Set(entries.map(({ parentId }) => parentId))];
  const found = parents.flatMap((parentId) => {
    const agent = agents.find(({ spiffeId }) => spiffeId === parentId);
    const why =
      agent === undefined
        ? 'has not attested'
        : agent.banned
          ? 'is banned'
          : Date.parse(agent.expiresAt) <= now
            ? `has not renewed its own SVID, which expired at ${agent.expiresAt}`
            : undefined;
    if (why === undefined) return [];
    return {
      evidence: `no SPIRE agent delivers its SVID: ${parentId}, the agent of node ${node}, ${why}`,
      remedy: `See that a pod of SPIRE agent runs on node ${node}, and read its log.`,
    };
  });
  if (found.length > 0 || entries.length === 0 || !('unread' in pod.held) || pod.held.noIdentity !== true) return found;
  return [
    {
      evidence: 'it has a registration entry, and the Workload API gives it no SVID',
      remedy: `A new entry takes some seconds; if it stays so, read the log of SPIRE agent on node ${node}.`,
    },
  ];
}

function trustFindings(
  cluster: string,
  pod: PodFacts,
  { trustDomain, cluster: peer, stored, held, wanted }: TrustReport,
): WorkloadReport['findings'] {
  if (!wanted) {
    return [
      {
        evidence: `it trusts ${trustDomain}, with which none of its entries federates`,
        remedy:
          'An agent takes a bundle away within seconds of the entry’s change: the workload does not read it again. Restart it.',
      },
    ];
  }
  if (stored !== undefined && stored.present < stored.of) {
    return [
      {
        evidence: `SPIRE server of ${cluster} stores ${stored.present} of the ${stored.of} keys that ${trustDomain} has now: servers of ${peer} may be refused`,
        remedy: 'Wait for one refresh interval, then verify, and setupMesh: it exchanges the bundles anew.',
      },
    ];
  }
  if (held === undefined || held.present === held.of) return [];
  return [
    {
      evidence: `the workload holds ${held.present} of the ${held.of} keys of ${trustDomain}, and SPIRE server has them all`,
      remedy: `An agent delivers them within seconds: read the log of SPIRE agent on node ${pod.nodeName ?? ''}, and see that the workload reads its files, or the Workload API, again.`,
    },
  ];
}

function svidFindings(
  pod: PodFacts,
  { spiffeIds, expiresAt, source }: Held,
  entries: readonly EntryFacts[],
  now: number,
): WorkloadReport['findings'] {
  const found: WorkloadReport['findings'] = [];
  if (Date.parse(expiresAt) <= now) {
    found.push({
      evidence: `its SVID expired at ${expiresAt} (${source}): everybody refuses it`,
      remedy: `SPIRE renews an SVID at half of its life: read the log of SPIRE agent on node ${pod.nodeName ?? ''}, and of what keeps the file.`,
    });
  }
  const stale = spiffeIds.filter((held) => !entries.some(({ spiffeId }) => spiffeId === held));
  if (stale.length > 0) {
    found.push({
      evidence: `it holds an SVID for ${stale.join(', ')}, for which it has no registration entry any more`,
      remedy: 'The SVID is good until it expires. Restart the workload if it must go at once.',
    });
  }
  return found;
}
