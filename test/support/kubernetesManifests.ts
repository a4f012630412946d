import { readFileSync } from 'node:fs';
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
      env: { name: string; value: string }[];
      resources: { requests: { memory: string }; limits: { memory: string } };
      ports: { name: string }[];
      startupProbe: Probe;
      readinessProbe: Probe;
      livenessProbe: Probe;
    }[];
  };
}

export type Manifest = Resource & { spec?: Record<string, unknown> };

/** The objects of the kustomize base in deploy/kubernetes, as they are in its files. */
export function kubernetesManifests(): Manifest[] {
  const folder = path.resolve(__dirname, '../../deploy/kubernetes');
  const { resources } = parse(readFileSync(path.join(folder, 'kustomization.yaml'), 'utf8')) as { resources: string[] };
  return resources.flatMap((file) =>
    parseAllDocuments(readFileSync(path.join(folder, file), 'utf8')).map((document) => document.toJS() as Manifest),
  );
}
