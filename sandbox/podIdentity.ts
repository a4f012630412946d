import { createHash } from 'node:crypto';
import type { Bundles, DelegatedX509Svids, SpiffeIdMessage } from './spireProtos.js';

export interface X509Svid {
  spiffeId: string;
  /** DER: the leaf, then its intermediates. */
  certificates: Buffer[];
  /** DER, PKCS#8. */
  privateKey: Buffer;
  hint: string;
}

/** What a workload gets from the Workload API: at least one X.509-SVID, and the bundles it may verify others with. */
export interface PodIdentity {
  svids: [X509Svid, ...X509Svid[]];
  /** SPIFFE ID of the workload's own trust domain. */
  trustDomainId: string;
  /** Concatenated DER, by the SPIFFE ID of the trust domain: the own one and those that the entry federates with. */
  bundles: Bundles;
}

/**
 * Puts together what the Delegated Identity API tells in two streams. Of all the bundles that the agent has, a workload
 * gets those of its own entries only, as from the agent itself. Undefined while the own trust domain's bundle is missing.
 */
export function composeIdentity(delegated: DelegatedX509Svids, agentBundles: Bundles): PodIdentity | undefined {
  const [first, ...others] = delegated.x509Svids.map(({ x509Svid: { id, certChain, hint }, x509SvidKey }) => ({
    spiffeId: spiffeId(id),
    certificates: certChain,
    privateKey: x509SvidKey,
    hint,
  }));
  const own = delegated.x509Svids[0]?.x509Svid.id.trustDomain;
  if (first === undefined || own === undefined) return undefined;
  const trustDomainId = spiffeId({ trustDomain: own, path: '' });
  if (agentBundles[trustDomainId] === undefined) return undefined;
  const wanted = new Set([trustDomainId, ...delegated.federatesWith]);
  const bundles = Object.fromEntries(Object.entries(agentBundles).filter(([id]) => wanted.has(id)));
  return { svids: [first, ...others], trustDomainId, bundles };
}

/** Equal for equal identities; not for keeping, though no key can be read from it. */
export function identityHash({ svids, bundles }: PodIdentity): string {
  const hash = createHash('sha256');
  for (const { spiffeId, certificates, privateKey, hint } of svids) {
    hash.update(JSON.stringify([spiffeId, hint, certificates.length]));
    for (const part of [...certificates, privateKey]) hash.update(part);
  }
  for (const [id, bundle] of Object.entries(bundles).sort(([a], [b]) => a.localeCompare(b))) {
    hash.update(JSON.stringify([id, bundle.length])).update(bundle);
  }
  return hash.digest('hex');
}

export function spiffeId({ trustDomain, path }: SpiffeIdMessage): string {
  return `spiffe://${trustDomain}${path}`;
}
