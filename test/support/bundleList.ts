import { parseBundle, type TrustBundle } from '../../src/spire/bundle.js';

/**
 * Reads what `spire-server bundle list -format spiffe` prints: per trust domain a banner (`* <trust domain>` between two
 * lines of stars) and a JWKS; with `-id` and nothing else, the same.
 * Another way to the same bundles than the engine's.
 */
export function parseBundleList(output: string): Map<string, TrustBundle> {
  const bundles = new Map<string, TrustBundle>();
  const sections = output.split(/^\*{4,}\s*\n\* (.+?)\s*\n\*{4,}\s*$/m);
  for (let index = 1; index < sections.length; index += 2) {
    const trustDomain = (sections[index] ?? '').replace(/^spiffe:\/\//, '');
    bundles.set(trustDomain, parseBundle(sections[index + 1] ?? ''));
  }
  if (sections.length === 1 && output.trim() !== '') {
    throw new Error(`SPIRE server's list of bundles has no banner: ${output.trim().slice(0, 80)}`);
  }
  return bundles;
}
