import type { StoredBundle } from '../contract/health.js';
import type { CarriedBundles } from '../contract/monitor.js';

/** Stored bundles by trust domain. */
export type StoredBundles = Readonly<Record<string, StoredBundle>>;

/**
 * What one run of the monitor hands to the next of the bundles that a cluster stores: only how they differ from what it
 * should store, which in a federation of hundreds is next to nothing. Pure.
 * @param expected the bundles that it should store
 */
export function carryBundles(
  stored: StoredBundles,
  digest: string | undefined,
  expected: StoredBundles,
): CarriedBundles {
  const differing: Record<string, StoredBundle | null> = {};
  for (const [trustDomain, bundle] of Object.entries(stored))
    if (!isSame(bundle, expected[trustDomain])) differing[trustDomain] = bundle;
  for (const trustDomain of Object.keys(expected)) if (stored[trustDomain] === undefined) differing[trustDomain] = null;
  return {
    ...(digest === undefined ? {} : { digest }),
    ...(Object.keys(differing).length === 0 ? {} : { differing }),
  };
}

/** The stored bundles again, by what was handed over of them. */
export function restoreBundles({ differing = {} }: CarriedBundles, expected: StoredBundles): StoredBundles {
  const all: Record<string, StoredBundle | null> = { ...expected, ...differing };
  return Object.fromEntries(Object.entries(all).flatMap(([name, each]) => (each === null ? [] : [[name, each]])));
}

function isSame(a: StoredBundle, b: StoredBundle | undefined): boolean {
  return a.fingerprint === b?.fingerprint && a.refreshHintSeconds === b.refreshHintSeconds;
}
