import type { ControlType } from '../contract/control.js';
import type { StepAction } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import type { WantedFederation } from '../contract/serverConf.js';
import type { Check } from '../contract/verify.js';
import { configMapControl } from './configMapControl.js';
import { operatorControl } from './operatorControl.js';
import type { Peer } from './serverConfPlan.js';

/** What of a SPIRE server's configuration is not as it is wanted. */
export interface ServerPlan {
  /** Title of the step that writes the settings. */
  title: string;
  /** In an operator's words; empty when all is as it must be. */
  differences: string[];
  /** What somebody should know before it is written, a line each. */
  explained: string[];
  /** Whether the server has to restart. */
  restart: boolean;
  /** Title of the step that restarts it. */
  rollout: string;
  /** What stands in the way, each with what to do about it. */
  problems: string[];
}

/** What the end of a federation does to a SPIRE server. */
export interface ServerTeardown {
  title: string;
  action: StepAction;
  details: string[];
  /** What cannot be put back as it was, a sentence each. */
  stays: string[];
}

/** One way in which SPIRE servers are configured: the decisions about it. Its effects are in src/activities/. */
export interface ControlStrategy {
  /** Name of the step that writes the settings; its ID is `<step>/<cluster>`. */
  readonly step: string;
  /** Where the settings stand, for titles: "server.conf in ConfigMap spire-server". */
  place(facts: ClusterFacts): string;
  plan(facts: ClusterFacts, wanted: WantedFederation): ServerPlan;
  /** Facts of the control as they are once the settings are written. */
  written(facts: ClusterFacts, wanted: WantedFederation): ClusterFacts;
  teardown(facts: ClusterFacts): ServerTeardown;
  /** What an undo of the first settings could not put back: a sentence; undefined where it can put back all. */
  irrevocable(facts: ClusterFacts): string | undefined;
  /** What an adoption writes beside the settings. */
  adoption(facts: ClusterFacts): string;
  /**
   * Judges the settings as they are.
   * @param peers those that the cluster should trust
   * @param complete false when a peer could not be read: whom it should not trust is not known then
   */
  checks(facts: ClusterFacts, peers: readonly Peer[], complete: boolean): Check[];
}

const STRATEGIES: Readonly<Record<ControlType, ControlStrategy>> = {
  configMap: configMapControl,
  operator: operatorControl,
};

/** The strategy by which a cluster's SPIRE server is configured. */
export function controlStrategy({ control }: Pick<ClusterFacts, 'control'>): ControlStrategy {
  return STRATEGIES[control.type];
}
