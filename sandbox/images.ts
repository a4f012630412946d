import { toolPath, type ToolName } from './tools/toolPath.js';

/** An image whose program the sandbox has and runs as a process of this machine. */
export interface KnownImage {
  tool: ToolName;
  /** What the image's entry point puts before a container's args. */
  entrypoint: string[];
  /** Name under which exec finds the program in the container's working folder: `./spire-server`. */
  program: string;
}

const IMAGES: readonly { pattern: RegExp; image: KnownImage }[] = [
  {
    pattern: /(^|\/)spire-server(:|@|$)/,
    image: { tool: 'spire-server', entrypoint: ['run'], program: 'spire-server' },
  },
  { pattern: /(^|\/)spire-agent(:|@|$)/, image: { tool: 'spire-agent', entrypoint: ['run'], program: 'spire-agent' } },
  {
    pattern: /(^|\/)spire-controller-manager(:|@|$)/,
    image: { tool: 'spire-controller-manager', entrypoint: [], program: 'spire-controller-manager' },
  },
  { pattern: /(^|\/)spire-federator\/probe(:|@|$)/, image: { tool: 'probe', entrypoint: [], program: 'probe' } },
];

/** The program behind an image; undefined for one that the sandbox only pretends to run. */
export function knownImage(name: string): KnownImage | undefined {
  return IMAGES.find(({ pattern }) => pattern.test(name))?.image;
}

export function imageBinary({ tool }: KnownImage): string {
  return toolPath(tool);
}
