import type { LinkFault } from './routeProxy.js';

/** Something that is wrong on purpose, until it is healed. */
export type Fault =
  | { kind: 'cut' | 'hang'; from: string; to: string }
  | { kind: 'delay'; from: string; to: string; delayMs: number }
  | { kind: 'stop-server' | 'api-down'; cluster: string };

/** The way from one cluster (or the engine) to another, with the faults that lie on it. */
export function linkFault(faults: readonly Fault[], from: string, to: string): LinkFault {
  const found = faults.find((fault) => 'from' in fault && fault.from === from && fault.to === to);
  if (found === undefined || !('from' in found)) return { kind: 'none' };
  return found.kind === 'delay' ? { kind: 'delay', delayMs: found.delayMs } : { kind: found.kind };
}

export function sameFault(a: Fault, b: Fault): boolean {
  if (a.kind !== b.kind) return false;
  if ('from' in a && 'from' in b) return a.from === b.from && a.to === b.to;
  return 'cluster' in a && 'cluster' in b && a.cluster === b.cluster;
}

export function describeFault(fault: Fault): string {
  if (!('from' in fault)) return `${fault.kind} ${fault.cluster}`;
  const suffix = fault.kind === 'delay' ? ` by ${fault.delayMs} ms` : '';
  return `${fault.kind} ${fault.from} ${fault.to}${suffix}`;
}
