import { clusterName } from './layout.js';
import { SandboxError } from './sandboxError.js';
import type { ToolName } from './tools/toolPath.js';

/** Versions of SPIRE that a cluster of the sandbox can run; sandbox/tools/catalog.mjs says how each is built. */
export const SPIRE_VERSIONS = ['1.15.2', '1.13.3'] as const;
export type SpireVersion = (typeof SPIRE_VERSIONS)[number];

/** The one that `npm run tools` builds; any other is built when it is asked for. */
export const DEFAULT_SPIRE_VERSION: SpireVersion = '1.15.2';

/** The module of the catalogue that has a version, and its programs. */
export const SPIRE_BUILDS: Readonly<Record<SpireVersion, { module: string; server: ToolName; agent: ToolName }>> = {
  '1.15.2': { module: 'spire', server: 'spire-server', agent: 'spire-agent' },
  '1.13.3': { module: 'spire-1.13.3', server: 'spire-server-1.13.3', agent: 'spire-agent-1.13.3' },
};

/** What `--spire-version` asks for: `1.13.3` for all clusters, `client-1=1.13.3` for one. */
export interface SpireVersionChoice {
  all?: SpireVersion;
  byCluster: Record<string, SpireVersion>;
}

/** @throws SandboxError that names what cannot be read and what could */
export function parseSpireVersions(texts: readonly string[]): SpireVersionChoice {
  const choice: SpireVersionChoice = { byCluster: {} };
  for (const text of texts) {
    const [, cluster, version = ''] = /^(?:([^=]*)=)?(.*)$/.exec(text) ?? [];
    if (!isSpireVersion(version) || cluster === '') {
      throw new SandboxError(
        `SPIRE version ${text}: it must be ${SPIRE_VERSIONS.join(' or ')} for all clusters, or as client-1=${SPIRE_VERSIONS.at(-1)} for one.`,
      );
    }
    const earlier = cluster === undefined ? choice.all : choice.byCluster[cluster];
    if (earlier !== undefined && earlier !== version) {
      throw new SandboxError(
        `Two SPIRE versions for ${cluster ?? 'all clusters'}: ${earlier} and ${version}. Say one.`,
      );
    }
    if (cluster === undefined) choice.all = version;
    else choice.byCluster[cluster] = version;
  }
  return choice;
}

/**
 * Decides which version each cluster runs. One that exists keeps its own.
 * @param count how many clusters there are to be at least
 * @param existing the versions of those that there are
 * @returns every cluster's version, in the order in which clusters are made
 * @throws SandboxError when the choice names a cluster that is not to be, or another version than the one that a cluster has
 */
export function assignSpireVersions(
  count: number,
  choice: SpireVersionChoice,
  existing: Readonly<Record<string, SpireVersion>>,
): Record<string, SpireVersion> {
  const clusters = Array.from({ length: Math.max(count, Object.keys(existing).length) }, (_, index) =>
    clusterName(index),
  );
  const unknown = Object.keys(choice.byCluster).filter((cluster) => !clusters.includes(cluster));
  if (unknown.length > 0) {
    throw new SandboxError(
      `A SPIRE version is given for ${unknown.join(', ')}, but the clusters are ${clusters.join(', ')}. Ask for more with --clusters.`,
    );
  }
  const wanted = (cluster: string): SpireVersion | undefined => choice.byCluster[cluster] ?? choice.all;
  const conflicts = clusters.flatMap((cluster) => {
    const [has, asked] = [existing[cluster], wanted(cluster)];
    return has === undefined || asked === undefined || has === asked
      ? []
      : [`${cluster} runs SPIRE ${has}, not ${asked}`];
  });
  if (conflicts.length > 0) {
    throw new SandboxError(
      `${conflicts.join('; ')}. A cluster of the sandbox keeps its version: npm run sandbox -- down, then up; or name the new clusters only, as edge-1=${choice.all ?? DEFAULT_SPIRE_VERSION}.`,
    );
  }
  return Object.fromEntries(
    clusters.map((cluster) => [cluster, existing[cluster] ?? wanted(cluster) ?? DEFAULT_SPIRE_VERSION]),
  );
}

function isSpireVersion(text: string): text is SpireVersion {
  return (SPIRE_VERSIONS as readonly string[]).includes(text);
}
