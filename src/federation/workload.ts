import type { IdentityFacts } from '../contract/facts.js';
import type {
  EntryFacts,
  PodFacts,
  TrustDomainAuthorities,
  WorkloadFacts,
  WorkloadReport,
} from '../contract/workload.js';
import { heldFindings, judgeTrust } from './heldTrust.js';
import { isOlder } from './policy.js';
import { selectorMiss } from './selector.js';

/**
 * Explains the identity of every pod that was found, or why it has none, and judges what it holds. Pure.
 * @param current keys of trust domains by their own SPIRE servers, as far as these could be asked
 * @param now milliseconds since the Unix epoch
 */
export function explainWorkloads(
  facts: WorkloadFacts,
  current: readonly TrustDomainAuthorities[],
  now: number,
): WorkloadReport[] {
  return facts.pods.map((pod) => explainWorkload(facts, pod, current, now));
}

function explainWorkload(
  facts: WorkloadFacts,
  pod: PodFacts,
  current: readonly TrustDomainAuthorities[],
  now: number,
): WorkloadReport {
  const { cluster, identities } = facts;
  const own = facts.entries.filter(({ selectors }) => selectors.includes(`k8s:pod-uid:${pod.uid}`));
  const applying = applyingIdentities(facts, pod);
  const entries = own.map((entry) => {
    const from = applying.find((identity) => isFrom(identity, entry, facts, pod))?.name;
    return { ...entry, ...(from === undefined ? {} : { from }) };
  });
  const trust = judgeTrust(facts, pod, own, current);
  return {
    cluster,
    pod,
    entries,
    policies: identities.map((identity) => ({ name: identity.name, effect: effect(identity, facts, pod, applying) })),
    trust,
    findings: [...findings(facts, pod, entries, applying), ...heldFindings(facts, pod, own, trust, now)],
  };
}

/** ClusterSPIFFEIDs that give this pod an entry: the oldest first, which wins where two give the same. */
function applyingIdentities(facts: WorkloadFacts, pod: PodFacts): IdentityFacts[] {
  const { className, identities } = facts;
  if (isIgnored(facts, pod)) return [];
  const selecting = identities
    .filter((identity) => identity.className === className && miss(identity, pod) === undefined)
    .sort((a, b) => (isOlder(a, b) ? -1 : 1));
  const first = selecting.filter(({ fallback }) => !fallback);
  return first.length > 0 ? first : selecting;
}

/** Whether SPIRE controller manager passes over the pod's namespace (spire-controller-manager: pkg/namespace). */
function isIgnored({ ignoreNamespaces }: WorkloadFacts, { namespace }: PodFacts): boolean {
  return ignoreNamespaces.some((pattern) => {
    try {
      return new RegExp(pattern).test(namespace);
    } catch {
      // Go has syntax that is unknown here; such a pattern is rare, and nothing else depends on it.
      return false;
    }
  });
}

function miss(identity: IdentityFacts, { labels, namespaceLabels }: PodFacts): string | undefined {
  const ofNamespace = selectorMiss(identity.namespaceSelector, namespaceLabels);
  if (ofNamespace !== undefined) return `does not select the namespace: ${ofNamespace}`;
  const ofPod = selectorMiss(identity.podSelector, labels);
  return ofPod === undefined ? undefined : `does not select the pod: ${ofPod}`;
}

function effect(
  identity: IdentityFacts,
  facts: WorkloadFacts,
  pod: PodFacts,
  applying: readonly IdentityFacts[],
): string {
  const { className } = facts;
  if (isIgnored(facts, pod)) return `does nothing: SPIRE controller manager ignores namespace ${pod.namespace}`;
  if (identity.className !== className)
    return `ignored: className is ${identity.className ?? 'missing'}, SPIRE controller manager watches ${className}`;
  const missed = miss(identity, pod);
  if (missed !== undefined) return missed;
  if (!applying.includes(identity)) {
    return `stands back: it is a fallback, and ${applying.map(({ name }) => name).join(', ')} selects the pod`;
  }
  const older = applying.find(
    (other) => other !== identity && sameSpiffeId(other, identity, facts, pod) && isOlder(other, identity),
  );
  return older === undefined ? 'applies' : `masked by ${older.name}, which is older and gives the same SPIFFE ID`;
}

function sameSpiffeId(a: IdentityFacts, b: IdentityFacts, facts: WorkloadFacts, pod: PodFacts): boolean {
  const [ofA, ofB] = [render(a.spiffeIDTemplate, facts, pod), render(b.spiffeIDTemplate, facts, pod)];
  if (ofA !== undefined && ofB !== undefined) return ofA === ofB;
  return a.spiffeIDTemplate.replaceAll(/\s/g, '') === b.spiffeIDTemplate.replaceAll(/\s/g, '');
}

/** Whether an entry is what a ClusterSPIFFEID makes of a pod; of a template that is not simple, by all the rest. */
function isFrom(identity: IdentityFacts, entry: EntryFacts, facts: WorkloadFacts, pod: PodFacts): boolean {
  const rendered = render(identity.spiffeIDTemplate, facts, pod);
  return (
    (rendered === undefined || rendered === entry.spiffeId) &&
    identity.hint === entry.hint &&
    [...identity.federatesWith].sort().join() === [...entry.federatesWith].sort().join()
  );
}

function render(template: string, { trustDomain }: WorkloadFacts, pod: PodFacts): string | undefined {
  const values: Readonly<Record<string, string>> = {
    '.TrustDomain': trustDomain,
    '.PodMeta.Namespace': pod.namespace,
    '.PodMeta.Name': pod.name,
    '.PodMeta.UID': pod.uid,
    '.PodSpec.ServiceAccountName': pod.serviceAccount,
  };
  const rendered = template.replaceAll(/{{-?\s*(\S+?)\s*-?}}/g, (action, field: string) => values[field] ?? action);
  return rendered.includes('{{') ? undefined : rendered;
}

function findings(
  facts: WorkloadFacts,
  pod: PodFacts,
  entries: readonly EntryFacts[],
  applying: readonly IdentityFacts[],
): WorkloadReport['findings'] {
  const { trustDomain, storedBundles, identities, className } = facts;
  const found: WorkloadReport['findings'] = [];
  const name = `${pod.namespace}/${pod.name}`;
  if (pod.nodeName === undefined) {
    found.push({
      evidence: `${name} is not scheduled (${pod.phase}): entries are made for pods that have a node`,
      remedy: `kubectl -n ${pod.namespace} describe pod ${pod.name}`,
    });
  }
  if (isIgnored(facts, pod)) {
    found.push({
      evidence: `SPIRE controller manager ignores namespace ${pod.namespace} (ignoreNamespaces in its configuration)`,
      remedy: 'Run the workload in another namespace, or take this one out of ignoreNamespaces.',
    });
  } else if (applying.length === 0) {
    const classless = identities.filter((each) => each.className !== className && miss(each, pod) === undefined);
    found.push(
      classless.length > 0
        ? {
            evidence: `only ${classless.map((each) => each.name).join(', ')} would select it, and SPIRE controller manager ignores that for its className`,
            remedy: `Set className ${className} on it.`,
          }
        : {
            evidence: 'no ClusterSPIFFEID selects it',
            remedy: 'Add a policy that does to the federation file, or label the pod or its namespace as one wants.',
          },
    );
  }
  for (const identity of applying) {
    if (identity.federatesWith.includes(trustDomain)) {
      found.push({
        evidence: `${identity.name} federates with the cluster's own trust domain: the agent stops delivering SVIDs`,
        remedy: `Take ${trustDomain} out of its federatesWith.`,
      });
    }
    const missing = identity.federatesWith.filter((each) => each !== trustDomain && storedBundles[each] === undefined);
    if (missing.length > 0) {
      found.push({
        evidence: `${identity.name} federates with ${missing.join(', ')}, whose bundle is not stored: SPIRE refuses the entry whole`,
        remedy: `Federate with it, or take it out of federatesWith.`,
      });
    }
    const unrendered = identity.stats['podEntryRenderFailures'] ?? 0;
    if (entries.length === 0 && unrendered > 0) {
      found.push({
        evidence: `${identity.name} could not render ${unrendered} entries: its template does not fit some pods`,
        remedy: 'Read the log of SPIRE controller manager, and correct spiffeIDTemplate.',
      });
    }
  }
  if (entries.length === 0 && found.length === 0) {
    found.push({
      evidence: `${applying.map((each) => each.name).join(', ')} selects it, and there is no entry yet`,
      remedy: 'SPIRE controller manager looks again every 10 s; if it stays so, read its log.',
    });
  }
  if (!pod.csiVolume) {
    found.push({
      evidence: 'it mounts no csi.spiffe.io volume: it cannot reach the Workload API, and gets none of its SVIDs',
      remedy: 'Add the volume: docs/operators-guide.md, "Workloads".',
    });
  }
  return found;
}
