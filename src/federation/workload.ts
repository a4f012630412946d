import type { IdentityFacts } from '../contract/facts.js';
import type { EntryFacts, PodFacts, WorkloadFacts, WorkloadReport } from '../contract/workload.js';
import { selectorMiss } from './selector.js';

/** Explains the identity of every pod that was found, or why it has none. Pure. */
export function explainWorkloads(facts: WorkloadFacts): WorkloadReport[] {
  return facts.pods.map((pod) => explainWorkload(facts, pod));
}

function explainWorkload(facts: WorkloadFacts, pod: PodFacts): WorkloadReport {
  const { cluster, identities } = facts;
  const own = facts.entries.filter(({ selectors }) => selectors.includes(`k8s:pod-uid:${pod.uid}`));
  const applying = applyingIdentities(facts, pod);
  const entries = own.map((entry) => {
    const from = applying.find((identity) => isFrom(identity, entry, facts, pod))?.name;
    return { ...entry, ...(from === undefined ? {} : { from }) };
  });
  return {
    cluster,
    pod,
    entries,
    policies: identities.map((identity) => ({ name: identity.name, effect: effect(identity, facts, pod, applying) })),
    findings: findings(facts, pod, entries, applying),
  };
}

/** ClusterSPIFFEIDs that give this pod an entry: the oldest first, which wins where two give the same. */
function applyingIdentities({ className, identities }: WorkloadFacts, pod: PodFacts): IdentityFacts[] {
  const selecting = identities
    .filter((identity) => identity.className === className && miss(identity, pod) === undefined)
    .sort((a, b) => a.createdAt.localeCompare(b.createdAt));
  const first = selecting.filter(({ fallback }) => !fallback);
  return first.length > 0 ? first : selecting;
}

function miss(identity: IdentityFacts, { labels, namespaceLabels }: PodFacts): string | undefined {
  const ofNamespace = selectorMiss(identity.namespaceSelector, namespaceLabels);
  if (ofNamespace !== undefined) return `does not select the namespace: ${ofNamespace}`;
  const ofPod = selectorMiss(identity.podSelector, labels);
  return ofPod === undefined ? undefined : `does not select the pod: ${ofPod}`;
}

function effect(
  identity: IdentityFacts,
  { className }: WorkloadFacts,
  pod: PodFacts,
  applying: readonly IdentityFacts[],
): string {
  if (identity.className !== className)
    return `ignored: className is ${identity.className ?? 'missing'}, SPIRE controller manager watches ${className}`;
  const missed = miss(identity, pod);
  if (missed !== undefined) return missed;
  if (!applying.includes(identity)) {
    return `stands back: it is a fallback, and ${applying.map(({ name }) => name).join(', ')} selects the pod`;
  }
  const older = applying.find(
    (other) => other !== identity && sameTemplate(other, identity) && isOlder(other, identity),
  );
  return older === undefined ? 'applies' : `masked by ${older.name}, which is older and gives the same SPIFFE ID`;
}

function sameTemplate(a: IdentityFacts, b: IdentityFacts): boolean {
  return a.spiffeIDTemplate.replaceAll(/\s/g, '') === b.spiffeIDTemplate.replaceAll(/\s/g, '');
}

function isOlder(a: IdentityFacts, b: IdentityFacts): boolean {
  return a.createdAt < b.createdAt;
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
  { trustDomain, storedBundles, identities, className }: WorkloadFacts,
  pod: PodFacts,
  entries: readonly EntryFacts[],
  applying: readonly IdentityFacts[],
): WorkloadReport['findings'] {
  const found: WorkloadReport['findings'] = [];
  const name = `${pod.namespace}/${pod.name}`;
  if (pod.nodeName === undefined) {
    found.push({
      evidence: `${name} is not scheduled (${pod.phase}): entries are made for pods that have a node`,
      remedy: `kubectl -n ${pod.namespace} describe pod ${pod.name}`,
    });
  }
  if (applying.length === 0) {
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
    const missing = identity.federatesWith.filter((each) => each !== trustDomain && !storedBundles.includes(each));
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
