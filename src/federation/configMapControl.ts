import type { ClusterFacts } from '../contract/facts.js';
import { durationSeconds } from '../contract/serverConf.js';
import type { Check } from '../contract/verify.js';
import { checker } from './check.js';
import type { ControlStrategy } from './control.js';
import { endpointPort, serverConfDifferences, wantedFederation, type Peer } from './serverConfPlan.js';

/** server.conf is edited in its ConfigMap, and the StatefulSet restarted: plain SPIRE, and ZTWIM in create-only mode. */
export const configMapControl: ControlStrategy = {
  step: 'editServerConf',

  place: ({ server }) => `server.conf in ConfigMap ${server}`,

  plan(facts, wanted) {
    const { cluster, server, control } = facts;
    const differences = serverConfDifferences(facts.serverConf, wanted, facts.recordedPeers);
    const createOnly = control.type === 'configMap' ? control.createOnly : undefined;
    return {
      title: `Edit server.conf in ConfigMap ${server} on ${cluster}`,
      differences,
      explained:
        createOnly === undefined || differences.length === 0
          ? []
          : [`the operator is in create-only mode (${createOnly}): once it leaves that, it overwrites this edit`],
      restart: differences.length > 0 || !facts.statefulSet.portDeclared,
      rollout: `Restart StatefulSet ${server} on ${cluster} with port ${wanted.bundleEndpoint.port}`,
      problems: differences.length > 0 && facts.serverConf.federationFirst === true ? [federationFirst(facts)] : [],
    };
  },

  written: (facts) => facts,

  teardown({ cluster, server, serverConfRecorded, statefulSet }) {
    const configured = serverConfRecorded || statefulSet.portAdded || statefulSet.federationHash !== undefined;
    return {
      title: `Restore server.conf and StatefulSet ${server} on ${cluster}`,
      action: configured ? 'restart' : 'none',
      details: [],
      stays: [],
    };
  },

  irrevocable: () => undefined,

  adoption: ({ server }) => `ConfigMap and StatefulSet ${server}: annotations`,

  checks: (facts, peers, complete) => [portCheck(facts), serverConfCheck(facts, peers, complete)],
};

/** There, objects of objects count as unknown keys of what is around them (hashicorp/hcl: json/parser/flatten.go). */
function federationFirst({ cluster, server, namespace }: ClusterFacts): string {
  return `${cluster}: federation is the first key of server in server.conf. SPIRE reads JSON as HCL, which takes what is written there for keys of server itself, and SPIRE server would not start. Put federation behind any other key of server: kubectl -n ${namespace} edit configmap ${server}`;
}

function portCheck(facts: ClusterFacts): Check {
  const { cluster, server, statefulSet } = facts;
  const check = checker(cluster);
  const port = endpointPort(facts);
  return statefulSet.portDeclared
    ? check('port', 'ok', `port ${port} is declared on StatefulSet ${server}`)
    : check(
        'port',
        'failed',
        `port ${port} is not declared on StatefulSet ${server}`,
        'Run setupMesh again: it declares it.',
      );
}

function serverConfCheck(facts: ClusterFacts, peers: readonly Peer[], complete: boolean): Check {
  const check = checker(facts.cluster);
  const isStatic =
    facts.recordedPeers.length > 0 ||
    peers.some(({ trustDomain }) => facts.serverConf.federatesWith[trustDomain] !== undefined);
  const hint = durationSeconds(facts.serverConf.bundleEndpoint?.refreshHint);
  const wanted = wantedFederation(facts, peers, {
    relationships: isStatic ? 'static' : 'dynamic',
    // Any hint will do here, as long as there is one: which one, only all members can tell.
    refreshHintSeconds: hint ?? 0,
  });
  const differences = serverConfDifferences(facts.serverConf, wanted, complete ? facts.recordedPeers : []);
  return differences.length === 0
    ? check(
        'server-conf',
        'ok',
        `bundle_endpoint and ${isStatic ? 'federates_with' : 'dynamic relationships'}, refresh_hint ${hint} s`,
      )
    : check(
        'server-conf',
        'failed',
        differences.join('; '),
        'Run setupMesh again: it mends server.conf and restarts the server.',
      );
}
