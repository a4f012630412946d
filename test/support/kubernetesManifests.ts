import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import type { Resource } from '../../sandbox/kubernetes.js';

interface Probe {
  httpGet: { path: string; port: string };
}

/** What the tests look at in a Deployment's pods. */
export interface PodTemplate {
  metadata: { labels: Record<string, string> };
  spec: {
    serviceAccountName: string;
    containers: {
      name: string;
      image: string;
      command?: string[];
      env: { name: string; value?: string; valueFrom?: object }[];
      resources: { requests: { memory: string }; limits: { memory: string } };
      ports: { name: string }[];
      startupProbe: Probe;
      readinessProbe: Probe;
      livenessProbe: Probe;
    }[];
  };
}

export type Manifest = Resource & { spec?: Record<string, unknown> };

const folder = path.resolve(__dirname, '../../deploy/kubernetes');

/** Whether what kustomize makes of them can be looked at. */
export const hasKubectl = spawnSync('kubectl', ['version', '--client']).status === 0;

/** What kustomize makes of the base alone. */
export function renderedBase(): Manifest[] {
  return kustomized(folder);
}

/**
 * What kustomize makes of the base with components of it.
 * @param kustomization what else there is in the kustomization that has them
 */
export function rendered(components: readonly string[], kustomization: object = {}): Manifest[] {
  const overlay = mkdtempSync(path.join(os.tmpdir(), 'kustomize-'));
  try {
    const from = (...parts: string[]) => path.relative(overlay, path.join(folder, ...parts));
    const content = { resources: [from()], components: components.map((each) => from(each)), ...kustomization };
    writeFileSync(path.join(overlay, 'kustomization.yaml'), JSON.stringify(content));
    return kustomized(overlay);
  } finally {
    rmSync(overlay, { recursive: true });
  }
}

/** The workers of region eu, in a namespace of their own. */
export function renderedRegion(): Manifest[] {
  const settings = { name: 'spire-federator-settings', namespace: 'spire-federator', behavior: 'merge' };
  return rendered(['region', 'inventory-file'], {
    namespace: 'spire-federator-eu',
    configMapGenerator: [{ ...settings, literals: ['SPIRE_FEDERATOR_REGIONS=eu'] }],
  });
}

function kustomized(directory: string): Manifest[] {
  const { status, stdout, stderr } = spawnSync('kubectl', ['kustomize', directory], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
}

/** The objects of the kustomize base in deploy/kubernetes, as they are in its files. */
export function kubernetesManifests(): Manifest[] {
  const { resources } = parse(readFileSync(path.join(folder, 'kustomization.yaml'), 'utf8')) as { resources: string[] };
  return resources.flatMap((file) =>
    parseAllDocuments(readFileSync(path.join(folder, file), 'utf8')).map((document) => document.toJS() as Manifest),
  );
}
