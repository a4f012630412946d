import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { projectRoot } from '../projectRoot.js';

/** The programs that a sandbox runs; sandbox/tools/catalog.mjs says what each is built from. */
export type ToolName =
  | 'etcd'
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-scheduler'
  | 'kwok'
  | 'probe'
  | 'spire-agent'
  | 'spire-agent-1.13.3'
  | 'spire-controller-manager'
  | 'spire-server'
  | 'spire-server-1.13.3'
  | 'temporal';

/** Folders of manifests and protocol definitions that come with those programs. */
export type AssetName = 'kwok-crds' | 'kwok-node-stages' | 'openshift-crds' | 'spire-crds' | 'spire-protos';

interface ToolManifest {
  readonly tools: Readonly<Record<string, string>>;
  readonly assets: Readonly<Record<string, string>>;
  /** What to build for a program that is built only when asked for. */
  readonly onDemand: Readonly<Record<string, string>>;
}

/** @returns the absolute path of a built program. Throws, naming `npm run tools`, when it is not built. */
export function toolPath(name: ToolName): string {
  const { tools, onDemand } = manifest();
  return existing(name, tools[name], onDemand[name]);
}

/** @returns the absolute path of a folder of assets. Throws, naming `npm run tools`, when it is not there. */
export function toolAsset(name: AssetName): string {
  return existing(name, manifest().assets[name]);
}

function existing(name: string, file: string | undefined, module?: string): string {
  if (file === undefined || !existsSync(file)) {
    const command = module === undefined ? 'npm run tools' : `npm run tools -- ${module}`;
    throw new Error(`${name} is not built: run \`${command}\``);
  }
  return file;
}

function manifest(): ToolManifest {
  const file = path.join(projectRoot(), 'dist', 'tools.json');
  if (!existsSync(file)) throw new Error("the sandbox's tools are not built: run `npm run tools`");
  return JSON.parse(readFileSync(file, 'utf8')) as ToolManifest;
}
