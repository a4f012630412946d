import type { OperatorControl } from '../contract/control.js';
import type { ClusterFacts } from '../contract/facts.js';
import type { WantedFederation } from '../contract/serverConf.js';
import type { Check } from '../contract/verify.js';
import { checker } from './check.js';
import type { ControlStrategy } from './control.js';
import { managedHost } from './managedRoute.js';
import { wantedFederation, type Peer } from './serverConfPlan.js';
import {
  MOST_STATIC_PEERS,
  DEFAULT_PROFILE,
  rendersAnew,
  spireServerDifferences,
  spireServerRecord,
  takenBack,
  unrendered,
  wantedSpireServer,
} from './spireServerPlan.js';

/**
 * SpireServer `cluster` is patched, and ZTWIM's operator renders server.conf, port, Service and Route from it and restarts
 * the server. What it holds is partly for good: spec.federation cannot be removed, nor its profile be changed.
 */
export const operatorControl: ControlStrategy = {
  step: 'patchSpireServer',

  place: () => 'spec.federation of SpireServer cluster',

  plan(facts, wanted) {
    const { federation, record } = settingsOf(facts);
    const target = wantedSpireServer(federation, record, wanted);
    const differences = spireServerDifferences(federation, target);
    const problems = problemsOf(facts, wanted);
    return {
      title:
        federation === undefined
          ? `Set spec.federation of SpireServer cluster on ${facts.cluster}, which cannot be removed again`
          : `Edit spec.federation of SpireServer cluster on ${facts.cluster}`,
      differences,
      explained: differences.length === 0 ? [] : explanations(facts, wanted),
      restart: rendersAnew(federation, target),
      rollout: `Wait until the operator has restarted StatefulSet ${facts.server} on ${facts.cluster} with it`,
      problems,
    };
  },

  teardown(facts) {
    const { federation, record } = settingsOf(facts);
    const title = `Take what the federation put into spec.federation of SpireServer cluster on ${facts.cluster} back out`;
    if (federation === undefined || record === undefined) return { title, action: 'none', details: [], stays: [] };
    const target = takenBack(federation, record);
    return {
      title,
      action: rendersAnew(federation, target) ? 'restart' : 'change',
      details: spireServerDifferences(federation, target),
      stays: record.before === null ? [staying(facts)] : [],
    };
  },

  irrevocable: (facts) => (settingsOf(facts).federation === undefined ? staying(facts) : undefined),

  adoption: () => 'SpireServer cluster: annotation',

  written(facts, wanted) {
    const { control } = facts;
    if (control.type !== 'operator') return facts;
    const { federation, record } = control;
    const target = wantedSpireServer(federation, record, wanted);
    const next = spireServerRecord(record?.federation ?? '', federation, record, target, wanted);
    return { ...facts, control: { ...control, federation: target, record: next } };
  },

  checks: (facts, peers, complete) => [spireServerCheck(facts, peers, complete), renderingCheck(facts)],
};

/** What stays of a federation on a cluster where an operator holds the settings. */
function staying({ cluster, trustDomain, exposure }: ClusterFacts): string {
  const exposed =
    exposure.type === 'managedRoute'
      ? `The bundle endpoint stays exposed at https://${managedHost(trustDomain)}; it serves public keys only. To end that: set managedRoute: "false" there, then delete Route spire-server-federation.`
      : 'The bundle endpoint goes on listening; it serves public keys only.';
  return `SpireServer cluster on ${cluster} keeps spec.federation (bundleEndpoint, managedRoute): the operator does not let it be removed. ${exposed}`;
}

function settingsOf({ control }: ClusterFacts): Pick<OperatorControl, 'federation' | 'record'> {
  return control.type === 'operator' ? control : {};
}

/** Why the operator or its API would refuse the change, each with what to do about it. */
function problemsOf(facts: ClusterFacts, wanted: WantedFederation): string[] {
  const { cluster, control } = facts;
  if (control.type !== 'operator') return [];
  const { federation, record, complaints } = control;
  const profile = federation?.bundleEndpoint.profile ?? DEFAULT_PROFILE;
  const entries = wantedSpireServer(federation, record, wanted).federatesWith?.length ?? 0;
  return [
    ...complaints.map(
      (complaint) => `${cluster}: ${complaint}. Mend that first, or no change of SpireServer takes effect.`,
    ),
    ...(profile === DEFAULT_PROFILE
      ? []
      : [
          `${cluster}: SpireServer cluster has the bundle endpoint profile ${profile}, which is immutable, and the engine federates with ${DEFAULT_PROFILE}. Only deleting and creating SpireServer cluster anew, without spec.federation, changes it.`,
        ]),
    // spec.federation would keep it for good, so it is nothing to be tried.
    ...(profile === DEFAULT_PROFILE && wanted.bundleEndpoint.profile?.type === 'https_web'
      ? [
          `${cluster}: the inventory wants bundleEndpoint profile https_web, and under the operator the engine sets up ${DEFAULT_PROFILE} only. Take bundleEndpoint out of the inventory for ${cluster}, or put the operator into create-only mode, in which server.conf is edited instead.`,
        ]
      : []),
    ...(entries > MOST_STATIC_PEERS
      ? [
          `${cluster}: with static relationships SpireServer cluster would have ${entries} entries in federatesWith, and its API takes ${MOST_STATIC_PEERS} at most. Use dynamic relationships (--relationships dynamic): they have no such limit and restart nobody.`,
        ]
      : []),
  ];
}

/** What somebody should know before the settings are changed. */
function explanations({ trustDomain, exposure, control }: ClusterFacts, { managedRoute }: WantedFederation): string[] {
  if (control.type !== 'operator') return [];
  const first = control.federation === undefined;
  return [
    ...(first
      ? [
          'for good: the operator does not let spec.federation be removed once it is set; after a teardown the bundle endpoint stays, without peers',
          `for good: bundleEndpoint.profile ${DEFAULT_PROFILE} cannot be changed once it is set`,
        ]
      : []),
    ...(first && managedRoute === 'true' && exposure.type === 'managedRoute'
      ? [
          `the operator makes Route spire-server-federation, host ${managedHost(trustDomain)}, which must lead to the cluster's router`,
        ]
      : []),
  ];
}

function spireServerCheck(facts: ClusterFacts, peers: readonly Peer[], complete: boolean): Check {
  const check = checker(facts.cluster);
  const { federation, record } = settingsOf(facts);
  if (federation === undefined) {
    return check(
      'spire-server',
      'failed',
      'SpireServer cluster has no spec.federation',
      'Run setupMesh again: it sets it.',
    );
  }
  const isStatic = (record?.peers.length ?? 0) > 0;
  const { refreshHint = 0 } = federation.bundleEndpoint;
  const wanted = wantedFederation(facts, peers, {
    relationships: isStatic ? 'static' : 'dynamic',
    // Any hint will do.
    refreshHintSeconds: refreshHint,
  });
  // With a peer that could not be read, whom it should not trust is not known.
  const unknown = complete ? [] : (record?.peers ?? []).filter((each) => !(each in wanted.federatesWith));
  const differences = spireServerDifferences(federation, wantedSpireServer(federation, record, wanted)).filter(
    (difference) => !unknown.some((trustDomain) => difference.endsWith(` ${trustDomain}`)),
  );
  return differences.length === 0
    ? check(
        'spire-server',
        'ok',
        `SpireServer cluster has bundleEndpoint and ${isStatic ? 'federatesWith' : 'dynamic relationships'}, refreshHint ${refreshHint} s, managedRoute "${federation.managedRoute ?? ''}"`,
      )
    : check('spire-server', 'failed', differences.join('; '), 'Run setupMesh again: it mends SpireServer cluster.');
}

function renderingCheck(facts: ClusterFacts): Check {
  const check = checker(facts.cluster);
  const { cluster, control, serverConf, server, statefulSet } = facts;
  const complaints = control.type === 'operator' ? control.complaints : [];
  const missing = [
    ...unrendered(serverConf, settingsOf(facts).federation),
    ...(statefulSet.portDeclared ? [] : [`StatefulSet ${server} does not declare the port`]),
    ...complaints,
  ];
  return missing.length === 0
    ? check('rendering', 'ok', `the operator has rendered SpireServer cluster into ConfigMap and StatefulSet ${server}`)
    : check(
        'rendering',
        'failed',
        missing.join('; '),
        `Look at the conditions of SpireServer cluster and at the operator's log on ${cluster}.`,
      );
}
