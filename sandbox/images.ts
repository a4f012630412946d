import { DEFAULT_SPIRE_VERSION, SPIRE_BUILDS, SPIRE_VERSIONS, type SpireVersion } from './spireVersions.js';
import { toolPath, type ToolName } from './tools/toolPath.js';

/** An image whose program the sandbox has and runs as a process of this machine. */
export interface KnownImage {
  tool: ToolName;
  /** What the image's entry point puts before a container's args. */
  entrypoint: string[];
  /** Name under which exec finds the program in the container's working folder: `./spire-server`. */
  program: string;
}

/** SPIRE's own by their tag; any other tag gets the version that is always there. */
function spireBuild(name: string): (typeof SPIRE_BUILDS)[SpireVersion] {
  return SPIRE_BUILDS[SPIRE_VERSIONS.find((version) => name.endsWith(`:${version}`)) ?? DEFAULT_SPIRE_VERSION];
}

const IMAGES: readonly { pattern: RegExp; image: (name: string) => KnownImage }[] = [
  {
    pattern: /(^|\/)spire-server(:|@|$)/,
    image: (name) => ({ tool: spireBuild(name).server, entrypoint: ['run'], program: 'spire-server' }),
  },
  {
    pattern: /(^|\/)spire-agent(:|@|$)/,
    image: (name) => ({ tool: spireBuild(name).agent, entrypoint: ['run'], program: 'spire-agent' }),
  },
  {
    pattern: /(^|\/)spire-controller-manager(:|@|$)/,
    image: () => ({ tool: 'spire-controller-manager', entrypoint: [], program: 'spire-controller-manager' }),
  },
  {
    pattern: /(^|\/)spire-federator\/probe(:|@|$)/,
    image: () => ({ tool: 'probe', entrypoint: [], program: 'probe' }),
  },
];

/** The program behind an image; undefined for one that the sandbox only pretends to run. */
export function knownImage(name: string): KnownImage | undefined {
  return IMAGES.find(({ pattern }) => pattern.test(name))?.image(name);
}

export function imageBinary({ tool }: KnownImage): string {
  return toolPath(tool);
}
