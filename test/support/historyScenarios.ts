import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import {
  addClusterInputSchema,
  adoptInputSchema,
  applyOptionsSchema,
  federationFileSchema,
  probeInputSchema,
  removeClusterInputSchema,
  setupMeshInputSchema,
  setupPairInputSchema,
  teardownInputSchema,
} from '../../src/contract/change.js';
import type { FederationHealth } from '../../src/contract/health.js';
import {
  HEALTH_QUERY,
  PAUSE_UPDATE,
  REPAIR_SIGNAL,
  RESUME_UPDATE,
  STOP_SIGNAL,
  type MonitorSettings,
  type RepairInput,
} from '../../src/contract/monitor.js';
import { offboardInputSchema, onboardInputSchema } from '../../src/contract/onboarding.js';
import { probePairInputSchema } from '../../src/contract/probePair.js';
import { rotateWatchInputSchema } from '../../src/contract/rotationSettings.js';
import type { WorkloadFacts, WorkloadReference } from '../../src/contract/workload.js';
import { federate, RecordedActivities } from './recordedActivities.js';
import type { WorkflowEnvironment } from './workflowEnvironment.js';

/** Something that the engine does, so that its history can be kept. */
export interface Scenario {
  /** Types of the workflows that come of it. */
  types: string[];
  /** @returns the workflow, which has ended */
  run: (environment: WorkflowEnvironment, workflowId: string) => Promise<WorkflowHandle>;
}

const federation = 'demo';
const timeouts = { attempts: 2 };
const SETUP = setupPairInputSchema.parse({ federation, clusters: ['a', 'b'], timeouts });
const POD = { namespace: 'my-app', name: 'app' };
const APP: WorkloadReference = { kind: 'pod', ...POD };

const ended = async (handle: WorkflowHandle): Promise<WorkflowHandle> => {
  await handle.result();
  return handle;
};

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await delay(50);
}

/** Clusters a, b … that are members, and others. */
function federationOf(members: string[], ...strangers: string[]): RecordedActivities {
  const recorded = new RecordedActivities(...members, ...strangers);
  federate(recorded, federation, ...members);
  recorded.strangers = strangers;
  return recorded;
}

/** One that goes through with nothing in its way. */
function plain(
  type: string,
  input: object,
  clusters: () => RecordedActivities = () => federationOf(['a', 'b']),
  ...children: string[]
): Scenario {
  return {
    types: [type, ...children],
    run: (environment, workflowId) => environment.run(clusters(), type, input, ended, { workflowId }),
  };
}

/** A setup that comes to nothing, and is undone. */
function undone(
  interfere: RecordedActivities['interfere'],
  meanwhile: (handle: WorkflowHandle, recorded: RecordedActivities) => Promise<void> = () => Promise.resolve(),
): Scenario {
  return {
    types: ['setupPair'],
    run: (environment, workflowId) => {
      const recorded = new RecordedActivities('a', 'b');
      recorded.interfere = interfere;
      const use = async (handle: WorkflowHandle) => {
        await meanwhile(handle, recorded);
        const error: unknown = await handle.result().catch((reason: unknown) => reason);
        if (error instanceof WorkflowFailedError && /cluster is as it was before/.test(error.cause?.message ?? ''))
          return handle;
        throw new Error('the setup was to fail and to be undone', { cause: error });
      };
      return environment.run(recorded, 'setupPair', SETUP, use, { workflowId });
    },
  };
}

const setupCancelled = undone(
  async ({ name, cluster }) => {
    if (name !== 'configureServer' || cluster !== 'b') return;
    const beat = setInterval(() => Context.current().heartbeat(), 100);
    try {
      await Context.current().cancelled;
    } finally {
      clearInterval(beat);
    }
  },
  async (handle, recorded) => {
    await until(() => recorded.names.includes('configureServer'));
    await handle.cancel();
  },
);

/** A bundle that is lost and found, a pause, and several runs. */
const monitor: Scenario = {
  types: ['monitor', 'diagnose', 'notify'],
  run: (environment, workflowId) => {
    const recorded = federationOf(['a', 'b']);
    const settings: MonitorSettings = {
      federation,
      clusters: ['a', 'b'],
      refreshHintSeconds: 300,
      intervalSeconds: 0.3,
      repair: { automatic: true, caChange: 'automatic' },
      roundsPerRun: 5,
    };
    const use = async (handle: WorkflowHandle) => {
      const health = () => handle.query<FederationHealth>(HEALTH_QUERY);
      const { storedBundles } = recorded.facts('a');
      await until(async () => (await health()).verdict === 'ok');
      recorded.change('a', { storedBundles: {} });
      await until(() => recorded.requested.length > 0);
      recorded.change('a', { storedBundles });
      await until(async () => (await health()).verdict === 'ok');
      await handle.executeUpdate(PAUSE_UPDATE, { args: [{ reason: 'maintenance' }] });
      await handle.executeUpdate(RESUME_UPDATE);
      await until(async () => (await health()).rounds > 6);
      await handle.signal(STOP_SIGNAL);
      return ended(handle);
    };
    return environment.run(recorded, 'monitor', settings, use, { workflowId });
  },
};

const repair: Scenario = {
  types: ['repair'],
  run: (environment, workflowId) => {
    const recorded = federationOf(['a', 'b']);
    recorded.change('a', { relationships: [], storedBundles: {} });
    const member = (cluster: string) => ({
      cluster,
      trustDomain: `${cluster}.test`,
      endpointUrl: `https://federation.${cluster}.test`,
    });
    const finding = { evidence: 'as seen', remedy: 'none needed' };
    const request: RepairInput = {
      federation,
      members: ['a', 'b'].map(member),
      findings: [
        { ...finding, check: 'relationship', scope: 'a←b', action: 'restore' },
        { ...finding, check: 'pollerStalled', scope: 'b←a', action: 'restart' },
      ],
    };
    const signal = { name: REPAIR_SIGNAL, args: [request] };
    return environment.run(recorded, 'repair', { federation }, ended, { workflowId, signal });
  },
};

/** Two looks of a schedule: the second knows what was told after the first. */
const checkHealth: Scenario = {
  types: ['checkHealth', 'probe'],
  run: (environment) => {
    const recorded = federationOf(['a', 'b']);
    const input = { federation, schedule: 'health', probe: probeInputSchema.parse({ federation, timeouts }) };
    return environment.schedule(recorded.activities, 'checkHealth', input, async (trigger) => {
      await ended(await trigger());
      recorded.change('a', { storedBundles: {} });
      return ended(await trigger());
    });
  },
};

const rotateWatch: Scenario = {
  types: ['rotateWatch', 'rotateCa'],
  run: (environment, workflowId) => {
    const recorded = federationOf(['a', 'b']);
    recorded.interfere = ({ name }) => (name === 'followRefreshes' ? delay(3_000) : undefined);
    recorded.refreshed = () => ({ at: Date.now(), ok: true });
    const windows: Record<string, number> = {};
    recorded.refreshes = ({ cluster, trustDomains }) => {
      const at = (windows[cluster] = (windows[cluster] ?? 0) + 75_000);
      return { cluster, startedAt: 1, polls: trustDomains.map((trustDomain) => ({ at, trustDomain, ok: true })) };
    };
    const input = rotateWatchInputSchema.parse({
      federation,
      rotations: 10,
      windowsPerRun: 4,
      rotate: { cluster: 'a', revoke: true, settleMs: 10_000 },
    });
    return environment.run(recorded, 'rotateWatch', input, ended, { workflowId });
  },
};

/** A workload of each cluster that federates with the other, dialled itself, too. */
const probePair: Scenario = {
  types: ['probePair'],
  run: (environment, workflowId) => {
    const recorded = federationOf(['a', 'b']);
    const activities = { ...recorded.activities, readWorkload: readApp };
    const end = (cluster: string) => ({ cluster, workload: APP });
    const input = { federation, from: end('a'), to: end('b'), address: 'app.b.test:8443', timeouts };
    return environment.run({ activities }, 'probePair', probePairInputSchema.parse(input), ended, { workflowId });
  },
};

function readApp({ cluster }: { cluster: string }): Promise<WorkloadFacts> {
  const trustDomain = `${cluster}.test`;
  const uid = `${cluster}-app`;
  return Promise.resolve({
    cluster,
    trustDomain,
    authorities: [],
    className: 'spire',
    ignoreNamespaces: [],
    storedBundles: {},
    pods: [
      {
        ...POD,
        uid,
        labels: {},
        namespaceLabels: {},
        serviceAccount: 'default',
        phase: 'Running',
        csiVolume: true,
        held: { unread: 'not asked' },
      },
    ],
    morePods: 0,
    entries: [
      {
        spiffeId: `spiffe://${trustDomain}/app`,
        parentId: `spiffe://${trustDomain}/agent`,
        federatesWith: ['a.test', 'b.test'].filter((each) => each !== trustDomain),
        hint: '',
        selectors: [`k8s:pod-uid:${uid}`],
      },
    ],
    agents: [],
    identities: [],
  });
}

/** Every kind of workflow, and of its ways those that differ in what they command. */
export const SCENARIOS: Record<string, Scenario> = {
  setupPair: plain('setupPair', SETUP, () => new RecordedActivities('a', 'b')),
  setupFailed: undone(({ id }) => {
    if (id === 'awaitBundles/b') throw ApplicationFailure.nonRetryable('no', 'Forbidden');
  }),
  setupCancelled,
  setupMesh: plain(
    'setupMesh',
    setupMeshInputSchema.parse({
      federation,
      clusters: ['a', 'b', 'c'],
      topology: 'hub',
      hub: 'b',
      relationships: 'dynamic',
      policies: [{ type: 'namespace', namespace: 'my-app' }],
      probe: false,
      timeouts,
    }),
    () => new RecordedActivities('a', 'b', 'c'),
  ),
  addCluster: plain('addCluster', addClusterInputSchema.parse({ federation, probe: false, timeouts }), () =>
    federationOf(['a', 'b'], 'c'),
  ),
  removeCluster: plain('removeCluster', removeClusterInputSchema.parse({ federation, cluster: 'c', timeouts }), () =>
    federationOf(['a', 'b', 'c']),
  ),
  applyFederation: plain(
    'applyFederation',
    {
      ...federationFileSchema.parse({ federation, clusters: ['a', 'b'] }),
      ...applyOptionsSchema.parse({ federation, probe: false, timeouts }),
    },
    () => federationOf(['a', 'b', 'c']),
  ),
  adopt: plain('adopt', adoptInputSchema.parse({ federation, timeouts })),
  teardown: plain('teardown', teardownInputSchema.parse({ federation, timeouts })),
  monitor,
  repair,
  checkHealth,
  rotateWatch,
  onboardCluster: plain(
    'onboardCluster',
    onboardInputSchema.parse({ cluster: 'c', joinFederation: federation, probe: false }),
    () => federationOf(['a', 'b'], 'c'),
    'addCluster',
  ),
  offboardCluster: plain(
    'offboardCluster',
    offboardInputSchema.parse({ cluster: 'b', leave: true }),
    () => federationOf(['a', 'b']),
    'removeCluster',
  ),
  probe: plain('probe', probeInputSchema.parse({ federation, timeouts })),
  probePair,
  verify: plain('verify', { federation, clusters: [] }),
  diagnose: plain('diagnose', { federation, clusters: [], readings: true, retryPolls: true }),
  showWorkload: plain('showWorkload', { workload: APP, clusters: ['a', 'b'], peers: ['a', 'b'] }),
  sysdump: plain('sysdump', {
    federation,
    part: { kind: 'diagnosis' },
    sinceSeconds: 3600,
    limitBytes: 1_000_000,
  }),
  testCluster: plain('testCluster', { cluster: 'a' }),
  testCandidate: plain('testCandidate', { cluster: 'a' }),
  listFederations: plain('listFederations', {}),
  listPolicies: plain('listPolicies', { federation }),
};
