import { readFileSync } from 'node:fs';
import path from 'node:path';
import { cacheDirectory, projectRoot } from '../../scripts/cache.mjs';
import { contentHash, filesUnder } from '../../scripts/contentHash.mjs';

/**
 * What the sandbox is made of, cheapest build first. Each entry is a Go module of its own because their dependency
 * versions conflict; go.mod and go.sum pin them.
 *
 * - coldSeconds: how long a first build takes on 2 cores
 * - packages: binary → Go package
 * - assets: folder → files copied out of a module that go.mod requires; `from` is a file or a folder of it
 * - ldflags: mostly the version, which a release's own build sets and a build of its module does not
 * - cgo: only where a package does not build without
 * - alsoFrom: folders outside of `directory` that its build reads
 * - onDemand: built only when asked for by its name
 *
 * @type {{ name: string, coldSeconds: number, directory: string, packages: Record<string, string>, cgo?: boolean,
 *   ldflags?: string, assets?: Record<string, { module: string, from: string, to?: string, only?: RegExp }[]>,
 *   alsoFrom?: string[], onDemand?: boolean }[]}
 */
const modules = [
  {
    name: 'openshift',
    coldSeconds: 5,
    directory: 'sandbox/tools/openshift',
    packages: {},
    assets: {
      'openshift-crds': [
        { module: 'github.com/openshift/api', from: 'route/v1/zz_generated.crd-manifests/routes.crd.yaml' },
      ],
    },
  },
  { name: 'probe', coldSeconds: 20, directory: 'probe', packages: { probe: '.' } },
  { name: 'etcd', coldSeconds: 25, directory: 'sandbox/tools/etcd', packages: { etcd: 'go.etcd.io/etcd/server/v3' } },
  {
    name: 'kwok',
    coldSeconds: 65,
    directory: 'sandbox/tools/kwok',
    packages: { kwok: 'sigs.k8s.io/kwok/cmd/kwok' },
    assets: {
      'kwok-crds': [{ module: 'sigs.k8s.io/kwok', from: 'kustomize/crd/bases', only: /^kwok.*\.yaml$/ }],
      'kwok-node-stages': [
        { module: 'sigs.k8s.io/kwok', from: 'kustomize/stage/node/fast/node-initialize.yaml' },
        {
          module: 'sigs.k8s.io/kwok',
          from: 'kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml',
        },
      ],
    },
  },
  {
    name: 'spire-controller-manager',
    coldSeconds: 85,
    directory: 'sandbox/tools/spire-controller-manager',
    packages: { 'spire-controller-manager': 'github.com/spiffe/spire-controller-manager/cmd' },
    assets: {
      'spire-crds': [
        {
          module: 'github.com/spiffe/spire-controller-manager',
          from: 'config/crd/bases',
          only: /_(clusterfederatedtrustdomains|clusterspiffeids|clusterstaticentries)\.yaml$/,
        },
      ],
    },
  },
  {
    name: 'temporal',
    coldSeconds: 110,
    directory: 'sandbox/tools/temporal',
    packages: { temporal: 'github.com/temporalio/cli/cmd/temporal' },
    ldflags: '-X github.com/temporalio/cli/temporalcli.Version=1.5.1',
  },
  {
    name: 'kubernetes',
    coldSeconds: 210,
    directory: 'sandbox/tools/kubernetes',
    packages: {
      'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
      'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
      'kube-scheduler': 'k8s.io/kubernetes/cmd/kube-scheduler',
    },
    // kubectl refuses a server that does not know its version.
    ldflags: '-X k8s.io/component-base/version.gitVersion=v1.36.3',
  },
  {
    name: 'spire',
    coldSeconds: 245,
    directory: 'sandbox/tools/spire',
    packages: {
      'spire-server': 'github.com/spiffe/spire/cmd/spire-server',
      'spire-agent': 'github.com/spiffe/spire/cmd/spire-agent',
    },
    ldflags: '-X github.com/spiffe/spire/pkg/common/version.gittag=1.15.2',
    // spire-server's SQLite data store.
    cgo: true,
    assets: {
      'spire-protos': [
        { module: 'github.com/spiffe/spire-api-sdk', from: 'proto', only: /\.proto$/ },
        { module: 'github.com/spiffe/go-spiffe/v2', from: 'proto/spiffe', to: 'spiffe', only: /\.proto$/ },
      ],
    },
  },
  {
    // The version in the Zero Trust Workload Identity Manager.
    name: 'spire-1.13.3',
    coldSeconds: 245,
    directory: 'sandbox/tools/spire-1.13.3',
    alsoFrom: ['sandbox/tools/spire/ejbca-stub'],
    packages: {
      'spire-server-1.13.3': 'github.com/spiffe/spire/cmd/spire-server',
      'spire-agent-1.13.3': 'github.com/spiffe/spire/cmd/spire-agent',
    },
    ldflags: '-X github.com/spiffe/spire/pkg/common/version.gittag=1.13.3',
    cgo: true,
    onDemand: true,
  },
];

/**
 * The catalogue with each module's place in the cache, which changes with anything its build depends on.
 * @returns {((typeof modules)[number] & { output: string })[]}
 */
export function toolModules() {
  return modules.map((module) => {
    const sources = filesUnder(projectRoot, [module.directory, ...(module.alsoFrom ?? [])], isBuildInput);
    const key = contentHash(projectRoot, sources, [describe(module), process.platform, process.arch]);
    return { ...module, output: path.join(cacheDirectory(), 'tools', `${module.name}-${key.slice(0, 16)}`) };
  });
}

/** The newest Go that any of the modules asks for, such as `1.26.5`. */
export function requiredGoVersion() {
  const versions = toolModules().map(({ directory }) => {
    const [, version] = /^go (\S+)$/m.exec(readFileSync(path.join(projectRoot, directory, 'go.mod'), 'utf8')) ?? [];
    if (!version) throw new Error(`${directory}/go.mod names no Go version`);
    return version;
  });
  return versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}

/** Where each binary and each folder of assets is, built or not, and which module to ask for to have an onDemand one. */
export function toolManifest() {
  const tools = {};
  const assets = {};
  const onDemand = {};
  for (const module of toolModules()) {
    for (const name of Object.keys(module.packages)) {
      tools[name] = path.join(module.output, 'bin', name);
      if (module.onDemand) onDemand[name] = module.name;
    }
    for (const name of Object.keys(module.assets ?? {})) assets[name] = path.join(module.output, 'assets', name);
  }
  return { tools, assets, onDemand };
}

function isBuildInput(file) {
  return /\.go$|go\.(mod|sum)$/.test(file) && !file.endsWith('_test.go');
}

/** What of an entry changes the outcome of its build. */
function describe(module) {
  return JSON.stringify(module, (key, value) => {
    if (key === 'coldSeconds') return undefined;
    return value instanceof RegExp ? value.source : value;
  });
}
