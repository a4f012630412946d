import { createHash, randomUUID } from 'node:crypto';
import {
  Client,
  Connection,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type WorkflowExecutionDescription,
  type WorkflowExecutionInfo,
  type WorkflowHandle,
} from '@temporalio/client';
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  TerminatedFailure,
  TimeoutFailure,
} from '@temporalio/common';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { HealthSchedules } from './client/healthSchedules.js';
import { CallRetries } from './client/retries.js';
import { isDeadline, temporalUnreachable } from './client/unreachable.js';
import { requireWorker, whileServed } from './client/workers.js';
import { webUiUrl } from './config.js';
import type {
  AddClusterInput,
  AdoptInput,
  ApplyInput,
  ChangeProgress,
  ChangeResult,
  ProbeMatrixInput,
  RemoveClusterInput,
  SetupMeshInput,
  StepProgress,
  TeardownInput,
  VerifyInput,
} from './contract/change.js';
import type { DiagnoseInput, Diagnosis } from './contract/diagnosis.js';
import { FederatorError, type FederatorErrorType } from './contract/errors.js';
import { findingId, type FederationHealth, type RepairRecord } from './contract/health.js';
import {
  APPROVE_UPDATE,
  CHECK_UPDATE,
  HEALTH_QUERY,
  MEMBERSHIP_SIGNAL,
  PAUSE_UPDATE,
  REPAIR_SIGNAL,
  RESUME_UPDATE,
  STOP_SIGNAL,
  type MonitorSettings,
  type PauseRequest,
  type RepairInput,
} from './contract/monitor.js';
import {
  PROGRESS_QUERY,
  TASK_QUEUE,
  changeFederation,
  changeWorkflowId,
  clusterWorkflowId,
  diagnoseWorkflowId,
  monitorFederation,
  monitorWorkflowId,
  planOf,
  planWorkflowId,
  policiesWorkflowId,
  repairWorkflowId,
  rotateWatchWorkflowId,
  sysdumpWorkflowId,
  verifyWorkflowId,
} from './contract/names.js';
import type { ConnectionReport, FoundFederations, OffboardInput, OnboardInput } from './contract/onboarding.js';
import type { FoundPolicies } from './contract/policies.js';
import type { ProbePairInput } from './contract/probePair.js';
import {
  ROTATE_WATCH_QUERY,
  ROTATE_WATCH_STOP_SIGNAL,
  type RotateWatchInput,
  type RotateWatchReport,
} from './contract/rotation.js';
import type { DumpedPart, DumpInput } from './contract/sysdump.js';
import { FEDERATION_ATTRIBUTE } from './contract/searchAttributes.js';
import type { VerifyResult } from './contract/verify.js';
import type { ShowWorkloadInput, ShowWorkloadResult } from './contract/workload.js';
import { payloadEncryption } from './encryption/payloadEncryption.js';
import { ClientSpans } from './tracing/clientSpans.js';

const DEFAULT_ADDRESS = '127.0.0.1:7233';
/** Memo of a workflow that somebody asked for by name. */
const REQUESTED_BY = 'requestedBy';
/** Memo of a change that only plans. */
const PLAN_ONLY = 'planOnly';

/** The changes that can be started, with what they take. */
export interface Changes {
  setupPair: SetupMeshInput;
  setupMesh: SetupMeshInput;
  addCluster: AddClusterInput;
  removeCluster: RemoveClusterInput;
  applyFederation: ApplyInput;
  adopt: AdoptInput;
  probe: ProbeMatrixInput;
  probePair: ProbePairInput;
  teardown: TeardownInput;
}

/** What only looks is given up after this, though a worker is there: as long as one step of it may take. */
const LOOK_TIMEOUT = '15 minutes';
/** The monitor answers at once or not at all; Prometheus waits 10 s for all of them. */
const HEALTH_MS = 8_000;

/** Longer than it is remembered that a federation was watched, to page when it is not any more (deploy/prometheus). */
const STOPPED_MS = 2 * 24 * 60 * 60_000;

/** What may run under the ID that a federation's changes share. */
const CHANGE_TYPES = Object.keys({
  setupPair: 1,
  setupMesh: 1,
  addCluster: 1,
  removeCluster: 1,
  applyFederation: 1,
  adopt: 1,
  probe: 1,
  probePair: 1,
  teardown: 1,
  rotateCa: 1,
} satisfies Record<keyof Changes | 'rotateCa', 1>);

/** A change that runs or has run. */
export interface ChangeHandle {
  federation: string;
  workflowId: string;
  runId: string;
  /** Page of this run in the Temporal Web UI. */
  link: string;
}

/** What lists and descriptions of workflows have in common. */
type ListedWorkflow = Pick<
  WorkflowExecutionDescription,
  'workflowId' | 'runId' | 'type' | 'status' | 'startTime' | 'closeTime' | 'memo'
>;

/** A change as Temporal lists it. */
export interface ChangeDescription extends ChangeHandle {
  type: string;
  /** As Temporal names it: RUNNING, COMPLETED, FAILED, CANCELLED, TERMINATED, TIMED_OUT. */
  status: string;
  /** ISO 8601. */
  startedAt: string;
  endedAt?: string;
  /** Who asked for it by the API. */
  requestedBy?: string;
  /** It only planned, and changed nothing. */
  planOnly?: true;
}

/** An onboarding or offboarding. */
export interface ClusterChange {
  type: string;
  status: string;
  runId: string;
  link: string;
  startedAt: string;
  endedAt?: string;
  result?: unknown;
  error?: { type: FederatorErrorType; message: string };
}

/** Where Temporal's own environment variables and profile say that its server is. */
export function temporalAddress(): string {
  return loadClientConnectConfig().connectionOptions.address ?? DEFAULT_ADDRESS;
}

/** The typed door to the engine: starts its workflows and follows them. */
export class FederatorClient {
  readonly healthSchedules: HealthSchedules;

  private constructor(
    private readonly connection: Connection,
    private readonly retries: CallRetries,
    private readonly client: Client,
  ) {
    this.healthSchedules = new HealthSchedules(client);
  }

  /**
   * Connects as Temporal's own environment variables and profile say (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE,
   * TEMPORAL_TLS_…, TEMPORAL_API_KEY, TEMPORAL_PROFILE).
   * @throws FederatorError TemporalUnreachable; InvalidInput for keys that cannot be used
   */
  static async connect(): Promise<FederatorClient> {
    const { dataConverter } = payloadEncryption();
    const { connectionOptions, namespace } = loadClientConnectConfig();
    const address = temporalAddress();
    const retries = new CallRetries();
    let connection: Connection;
    try {
      const interceptors = [retries.interceptor];
      connection = await Connection.connect({
        connectTimeout: '5 seconds',
        ...connectionOptions,
        address,
        interceptors,
      });
    } catch (error) {
      throw new FederatorError(
        'TemporalUnreachable',
        `There is no Temporal server at ${address} (${(error as Error).message.split('\n')[0]}). Start one with: npm run temporal, or set TEMPORAL_ADDRESS.`,
      );
    }
    return new FederatorClient(
      connection,
      retries,
      new Client({
        connection,
        namespace: namespace ?? 'default',
        dataConverter,
        interceptors: { workflow: [new ClientSpans()] },
      }),
    );
  }

  async close(): Promise<void> {
    await this.retries.end();
    await this.connection.close();
  }

  /**
   * Starts a change, or what only plans one, which may run beside anything.
   * @throws FederatorError ChangeInProgress when a change of this federation runs already; NoWorker when nobody would do it
   */
  async startChange<K extends keyof Changes>(name: K, input: Changes[K], requestedBy?: string): Promise<ChangeHandle> {
    await requireWorker(this.client);
    const isPlan = 'planOnly' in input && input.planOnly;
    const workflowId = isPlan ? planWorkflowId(input.federation, randomUUID()) : changeWorkflowId(input.federation);
    try {
      const handle = await this.client.workflow.start(name, {
        workflowId,
        taskQueue: TASK_QUEUE,
        args: [input],
        workflowIdConflictPolicy: 'FAIL',
        ...(isPlan ? { workflowExecutionTimeout: LOOK_TIMEOUT } : {}),
        staticSummary: `${isPlan ? 'Plan: ' : ''}${name} ${input.federation}: ${concerned(name, input)}`,
        typedSearchAttributes: [{ key: FEDERATION_ATTRIBUTE, value: input.federation }],
        ...memoOf(requestedBy, isPlan),
      });
      return this.handle(input.federation, workflowId, handle.firstExecutionRunId);
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      const running = await this.client.workflow.getHandle(workflowId).describe();
      const { link } = this.handle(input.federation, workflowId, running.runId);
      throw new FederatorError(
        'ChangeInProgress',
        `Another change of federation ${input.federation} is running (${running.type}, since ${running.startTime.toISOString()}). Wait for it or cancel it there: ${link}`,
      );
    }
  }

  /** Whether Temporal answers and a worker listens. @throws FederatorError TemporalUnreachable, NoWorker */
  async ready(): Promise<void> {
    try {
      await this.client.withDeadline(Date.now() + 3_000, () => requireWorker(this.client));
    } catch (error) {
      if (error instanceof FederatorError) throw error;
      throw new FederatorError('TemporalUnreachable', `Temporal does not answer: ${(error as Error).message}`);
    }
  }

  /** The change of a federation that runs, or else the newest. @throws FederatorError NotFound */
  async findChange(federation: string): Promise<ChangeHandle> {
    const workflowId = changeWorkflowId(federation);
    try {
      const { runId } = await this.client.workflow.getHandle(workflowId).describe();
      return this.handle(federation, workflowId, runId);
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      throw new FederatorError('NotFound', `Federation ${federation} has had no change on this Temporal server.`);
    }
  }

  /** The newest changes of a federation, or of all, as far back as Temporal keeps them; no plans. */
  async listChanges({ federation, limit }: { federation?: string; limit: number }): Promise<ChangeDescription[]> {
    const query =
      federation === undefined
        ? `WorkflowId STARTS_WITH "federation/" AND WorkflowType IN (${CHANGE_TYPES.map((type) => `"${type}"`).join(', ')})`
        : `WorkflowId = "${changeWorkflowId(federation)}"`;
    const changes: ChangeDescription[] = [];
    for await (const execution of this.client.workflow.list({ query, pageSize: limit })) {
      const name = changeFederation(execution.workflowId);
      // Plans had the ID of changes once.
      if (name !== undefined && execution.memo?.[PLAN_ONLY] !== true) changes.push(this.description(name, execution));
      if (changes.length === limit) break;
    }
    return changes;
  }

  /** One change by its run's ID, or one plan by its own. @throws FederatorError NotFound */
  async describeChange(federation: string, id: string): Promise<ChangeDescription> {
    const { workflow } = this.client;
    for (const handle of [
      workflow.getHandle(changeWorkflowId(federation), id),
      workflow.getHandle(planWorkflowId(federation, id)),
    ]) {
      try {
        return this.description(federation, await handle.describe());
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) throw error;
      }
    }
    throw new FederatorError('NotFound', `Federation ${federation} has no change ${id} on this Temporal server.`);
  }

  /** The change that an onboarding or offboarding of a cluster began; undefined when none is listed (yet, or any more). */
  async changeBegunBy(cluster: string, runId: string): Promise<ChangeHandle | undefined> {
    const query = `ParentWorkflowId = "${clusterWorkflowId(cluster)}"`;
    for await (const { workflowId, runId: run, parentExecution } of this.client.workflow.list({ query })) {
      const federation = changeFederation(workflowId);
      if (federation !== undefined && parentExecution?.runId === runId) return this.handle(federation, workflowId, run);
    }
    return undefined;
  }

  /** Where a change stands; undefined while no worker can tell. */
  async progress({ workflowId, runId }: ChangeHandle): Promise<ChangeProgress | undefined> {
    try {
      return await this.client.withDeadline(Date.now() + 2_000, () =>
        this.client.workflow.getHandle(workflowId, runId).query<ChangeProgress>(PROGRESS_QUERY),
      );
    } catch {
      // A worker that restarts, or is busy with this very workflow, answers the next time: progress is only shown.
      return undefined;
    }
  }

  /** @throws FederatorError with the type and message of what failed the change */
  async result({ workflowId, runId }: ChangeHandle): Promise<ChangeResult> {
    const outcome = this.outcome<ChangeResult>(this.client.workflow.getHandle(workflowId, runId));
    return planOf(workflowId) === undefined ? outcome : whileServed(this.client, outcome);
  }

  /**
   * Asks a change to stop; it undoes what it did.
   * @throws FederatorError NotFound when it does not run any more
   */
  async cancel({ federation, workflowId, runId }: ChangeHandle): Promise<void> {
    const handle = this.client.workflow.getHandle(workflowId, runId);
    const { status } = await handle.describe();
    if (status.name !== 'RUNNING') {
      throw new FederatorError(
        'NotFound',
        `No change of federation ${federation} is running: the newest is ${status.name}.`,
      );
    }
    await handle.cancel();
  }

  /** What every cluster of the inventory is a member of, by their own words. */
  async federations(): Promise<FoundFederations> {
    return this.look<FoundFederations>('listFederations', `federations/${randomUUID()}`, []);
  }

  /** Which workloads of a federation federate, by its members' own words. @throws FederatorError NotFound */
  async policies(federation: string): Promise<FoundPolicies> {
    const workflowId = `${policiesWorkflowId(federation)}/${randomUUID()}`;
    return this.look<FoundPolicies>('listPolicies', workflowId, [{ federation }]);
  }

  /** Looks whether a cluster can be worked on. */
  async testCluster(cluster: string): Promise<ConnectionReport> {
    return this.look<ConnectionReport>('testCluster', `cluster/${cluster}/test`, [{ cluster }]);
  }

  /** Looks whether a cluster can be worked on whose candidate is in the store; afterwards it is not there any more. */
  async testCandidate(cluster: string): Promise<ConnectionReport> {
    return this.look<ConnectionReport>('testCandidate', `cluster/${cluster}/test`, [{ cluster }]);
  }

  /**
   * Starts to take a cluster into the inventory whose candidate is in the store.
   * @throws FederatorError ChangeInProgress when it is being onboarded or offboarded
   */
  async onboardCluster(input: OnboardInput, requestedBy?: string): Promise<ChangeHandle> {
    return this.startClusterChange('onboardCluster', input, requestedBy);
  }

  /** Starts to take a cluster out of the inventory. @throws FederatorError ChangeInProgress */
  async offboardCluster(input: OffboardInput, requestedBy?: string): Promise<ChangeHandle> {
    return this.startClusterChange('offboardCluster', input, requestedBy);
  }

  /**
   * An onboarding or offboarding of a cluster, also of one that is gone; undefined when Temporal knows of none.
   * @param run the newest when absent
   */
  async clusterChange(cluster: string, run?: string): Promise<ClusterChange | undefined> {
    const handle = this.client.workflow.getHandle(clusterWorkflowId(cluster), run);
    try {
      const { type, status, runId, startTime, closeTime } = await handle.describe();
      const change: ClusterChange = {
        type,
        status: status.name,
        runId,
        link: this.handle('', handle.workflowId, runId).link,
        startedAt: startTime.toISOString(),
        ...(closeTime === undefined ? {} : { endedAt: closeTime.toISOString() }),
      };
      if (closeTime === undefined) return change;
      return await this.outcome<unknown>(handle).then(
        (result) => ({ ...change, result }),
        (error: unknown) => {
          if (!(error instanceof FederatorError)) throw error;
          return { ...change, error: { type: error.type, message: error.message } };
        },
      );
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    }
  }

  private async startClusterChange(
    name: 'onboardCluster' | 'offboardCluster',
    input: OnboardInput | OffboardInput,
    requestedBy?: string,
  ): Promise<ChangeHandle> {
    await requireWorker(this.client);
    const workflowId = clusterWorkflowId(input.cluster);
    try {
      const handle = await this.client.workflow.start(name, {
        workflowId,
        taskQueue: TASK_QUEUE,
        args: [input],
        workflowIdConflictPolicy: 'FAIL',
        staticSummary: `${name} ${input.cluster}`,
        ...memoOf(requestedBy),
      });
      return this.handle('', workflowId, handle.firstExecutionRunId);
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      throw new FederatorError(
        'ChangeInProgress',
        `Cluster ${input.cluster} is being onboarded or offboarded already. Wait for that to end.`,
      );
    }
  }

  /**
   * Runs a workflow that only looks; who asks while it runs gets its answer too.
   * @throws FederatorError NoWorker, TimedOut
   */
  private async look<T>(
    type: string,
    workflowId: string,
    args: unknown[],
    { federation, summary = workflowId }: { federation?: string; summary?: string } = {},
  ): Promise<T> {
    await requireWorker(this.client);
    const handle = await this.client.workflow.start(type, {
      workflowId,
      taskQueue: TASK_QUEUE,
      args,
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowExecutionTimeout: LOOK_TIMEOUT,
      staticSummary: summary,
      ...(federation === undefined
        ? {}
        : { typedSearchAttributes: [{ key: FEDERATION_ATTRIBUTE, value: federation }] }),
    });
    return whileServed(this.client, this.outcome<T>(handle));
  }

  /** Looks at a federation and changes nothing. */
  async verify(input: VerifyInput): Promise<VerifyResult> {
    const { federation, clusters } = input;
    const about = { federation, summary: `verify ${federation}` };
    return this.look<VerifyResult>('verify', verifyWorkflowId(federation, digestOf(clusters)), [input], about);
  }

  /** Looks at a federation thoroughly, and at what has to be done about it. Changes nothing. */
  async diagnose(input: DiagnoseInput): Promise<Diagnosis> {
    const { federation } = input;
    const about = { federation, summary: `diagnose ${federation}` };
    return this.look<Diagnosis>('diagnose', `${diagnoseWorkflowId(federation)}/${randomUUID()}`, [input], about);
  }

  /**
   * Has findings mended, as the monitor has it done, and waits for it.
   * @returns a record of each
   * @throws FederatorError ChangeInProgress when a change runs: what it leaves has to be looked at anew
   */
  async repair(request: RepairInput): Promise<RepairRecord[]> {
    await requireWorker(this.client);
    const { federation, findings } = request;
    const wanted = new Set(findings.map(findingId));
    const handle = await this.client.workflow.signalWithStart('repair', {
      workflowId: repairWorkflowId(federation),
      taskQueue: TASK_QUEUE,
      args: [{ federation }],
      signal: REPAIR_SIGNAL,
      signalArgs: [request],
      staticSummary:
        `repair ${federation}: ${findings.map(({ check, scope }) => `${check} of ${scope}`).join(', ')}`.slice(0, 200),
      typedSearchAttributes: [{ key: FEDERATION_ATTRIBUTE, value: federation }],
    });
    const records = await this.outcome<RepairRecord[]>(handle);
    // The monitor may have asked for the same in the same run: what came of it last is what is so now.
    const own = new Map(records.map((record) => [record.findingId, record]));
    const asked = [...own.values()].filter((record) => wanted.has(record.findingId));
    if (asked.length > 0) return asked;
    throw new FederatorError(
      'ChangeInProgress',
      `Nothing was repaired: a change of federation ${federation} runs. Follow it: npm run federator -- attach ${federation}`,
    );
  }

  /** Finds a workload and explains its identity. Changes nothing. */
  async showWorkload(input: ShowWorkloadInput): Promise<ShowWorkloadResult> {
    const about = { summary: `showWorkload on ${input.clusters.join(', ')}` };
    return this.look<ShowWorkloadResult>('showWorkload', `workload/${randomUUID()}`, [input], about);
  }

  /**
   * Collects one part of a bug report. Its run is deleted afterwards, as it holds nothing but the report.
   * @returns with `stays` where the run could not be deleted
   */
  async dump(input: DumpInput): Promise<DumpedPart & { stays?: string }> {
    const { federation, part } = input;
    const workflowId = `${sysdumpWorkflowId(federation)}/${randomUUID()}`;
    const summary = `sysdump ${federation}: ${part.kind === 'cluster' ? part.cluster : part.kind}`;
    const dumped = await this.look<DumpedPart>('sysdump', workflowId, [input], { federation, summary });
    try {
      await this.connection.workflowService.deleteWorkflowExecution({
        namespace: this.client.options.namespace,
        workflowExecution: { workflowId },
      });
      return dumped;
    } catch (error) {
      return { ...dumped, stays: `workflow ${workflowId}: ${(error as Error).message}` };
    }
  }

  /** Starts the watch over a federation, or tells a running one of other settings. */
  async startMonitor(settings: MonitorSettings): Promise<ChangeHandle> {
    await requireWorker(this.client);
    const { federation } = settings;
    const workflowId = monitorWorkflowId(federation);
    const handle = await this.client.workflow.signalWithStart('monitor', {
      workflowId,
      taskQueue: TASK_QUEUE,
      args: [settings],
      signal: MEMBERSHIP_SIGNAL,
      signalArgs: [settings],
      staticSummary: `monitor ${federation}`,
      typedSearchAttributes: [{ key: FEDERATION_ATTRIBUTE, value: federation }],
    });
    return this.handle(federation, workflowId, handle.signaledRunId);
  }

  /** @throws FederatorError NotFound when nobody watches over it */
  async stopMonitor(federation: string): Promise<void> {
    await this.askMonitor(federation, (handle) => handle.signal(STOP_SIGNAL));
  }

  /** Federations that a monitor watches over. */
  async monitored(): Promise<string[]> {
    const federations: string[] = [];
    const query = 'WorkflowType = "monitor" AND ExecutionStatus = "Running"';
    for await (const { workflowId } of this.client.workflow.list({ query })) {
      const federation = monitorFederation(workflowId);
      if (federation !== undefined) federations.push(federation);
    }
    return federations;
  }

  /** Federations whose monitor was told to stop in the last two days, and does not run again. */
  async stoppedMonitors(): Promise<string[]> {
    const since = new Date(Date.now() - STOPPED_MS).toISOString();
    const query = `WorkflowType = "monitor" AND ExecutionStatus != "ContinuedAsNew" AND (ExecutionStatus = "Running" OR CloseTime > "${since}")`;
    const newest = new Map<string, WorkflowExecutionInfo>();
    for await (const run of this.client.workflow.list({ query })) {
      const federation = monitorFederation(run.workflowId);
      if (federation === undefined) continue;
      const other = newest.get(federation);
      if (other === undefined || other.startTime < run.startTime) newest.set(federation, run);
    }
    return [...newest].flatMap(([federation, { status }]) => (status.name === 'COMPLETED' ? [federation] : []));
  }

  /** What is known of a federation now. @throws FederatorError NotFound when nobody watches over it */
  async health(federation: string): Promise<FederationHealth> {
    return this.askMonitor(federation, (handle) =>
      this.client
        .withDeadline(Date.now() + HEALTH_MS, () => handle.query<FederationHealth>(HEALTH_QUERY))
        .catch((error: unknown) => {
          throw isDeadline(error) ? silent(federation) : error;
        }),
    );
  }

  /** Has everything read now, and answers what is known then. */
  async checkNow(federation: string): Promise<FederationHealth> {
    return this.askMonitor(federation, (handle) => handle.executeUpdate<FederationHealth, []>(CHECK_UPDATE));
  }

  async pauseMonitor(federation: string, request: PauseRequest): Promise<FederationHealth> {
    return this.askMonitor(federation, (handle) =>
      handle.executeUpdate<FederationHealth, [PauseRequest]>(PAUSE_UPDATE, { args: [request] }),
    );
  }

  async resumeMonitor(federation: string): Promise<FederationHealth> {
    return this.askMonitor(federation, (handle) => handle.executeUpdate<FederationHealth, []>(RESUME_UPDATE));
  }

  /** Allows what waits for it. @throws FederatorError InvalidInput when no such finding waits */
  async approve(federation: string, findingId: string): Promise<FederationHealth> {
    return this.askMonitor(federation, (handle) =>
      handle.executeUpdate<FederationHealth, [string]>(APPROVE_UPDATE, { args: [findingId] }),
    );
  }

  /**
   * Starts to count refreshes.
   * @throws FederatorError ChangeInProgress when they are counted already
   */
  async startRotateWatch(input: RotateWatchInput): Promise<ChangeHandle> {
    await requireWorker(this.client);
    const { federation, rotate } = input;
    const workflowId = rotateWatchWorkflowId(federation);
    try {
      const handle = await this.client.workflow.start('rotateWatch', {
        workflowId,
        taskQueue: TASK_QUEUE,
        args: [input],
        workflowIdConflictPolicy: 'FAIL',
        staticSummary: `rotateWatch ${federation}${rotate === undefined ? '' : `: rotate ${rotate.cluster}`}`,
        typedSearchAttributes: [{ key: FEDERATION_ATTRIBUTE, value: federation }],
      });
      return this.handle(federation, workflowId, handle.firstExecutionRunId);
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      throw new FederatorError(
        'ChangeInProgress',
        `The refreshes of federation ${federation} are being watched already. Follow it with: npm run federator -- rotate-watch --federation ${federation} --attach, or end it with --stop in its place.`,
      );
    }
  }

  /** The newest watch over refreshes. @throws FederatorError NotFound */
  async findRotateWatch(federation: string): Promise<ChangeHandle> {
    const workflowId = rotateWatchWorkflowId(federation);
    try {
      const { runId } = await this.client.workflow.getHandle(workflowId).describe();
      return this.handle(federation, workflowId, runId);
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      throw new FederatorError(
        'NotFound',
        `The refreshes of federation ${federation} have not been watched on this Temporal server. Start it: npm run federator -- rotate-watch --federation ${federation}`,
      );
    }
  }

  /** How far the watch is; undefined while no worker can tell. */
  async refreshes(federation: string): Promise<RotateWatchReport | undefined> {
    try {
      return await this.client.withDeadline(Date.now() + 2_000, () =>
        this.client.workflow.getHandle(rotateWatchWorkflowId(federation)).query<RotateWatchReport>(ROTATE_WATCH_QUERY),
      );
    } catch {
      // As with a change's progress: it is only shown.
      return undefined;
    }
  }

  /** The steps of a CA's rotation; none while no worker can tell, or when none began since. */
  async rotationSteps(federation: string, since: number): Promise<StepProgress[]> {
    const workflowId = changeWorkflowId(federation);
    try {
      const { type, runId, startTime } = await this.client.workflow.getHandle(workflowId).describe();
      if (type !== 'rotateCa' || startTime.getTime() < since) return [];
      return (await this.progress({ federation, workflowId, runId, link: '' }))?.steps ?? [];
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return [];
      throw error;
    }
  }

  /** The report at its end. @throws FederatorError with what failed it, e.g. a rotation that was refused */
  async rotateWatchResult({ workflowId }: ChangeHandle): Promise<RotateWatchReport> {
    return this.outcome<RotateWatchReport>(this.client.workflow.getHandle(workflowId));
  }

  /** Ends the watch; its report is its result. @throws FederatorError NotFound when none runs */
  async stopRotateWatch(federation: string): Promise<void> {
    try {
      await this.client.workflow.getHandle(rotateWatchWorkflowId(federation)).signal(ROTATE_WATCH_STOP_SIGNAL);
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      throw new FederatorError('NotFound', `The refreshes of federation ${federation} are not being watched.`);
    }
  }

  private async askMonitor<T>(federation: string, ask: (handle: WorkflowHandle) => Promise<T>): Promise<T> {
    const handle = this.client.workflow.getHandle(monitorWorkflowId(federation));
    const nobody = () =>
      new FederatorError(
        'NotFound',
        `Nobody watches over federation ${federation}. Start it: npm run federator -- monitor start --federation ${federation}`,
      );
    try {
      const { status } = await handle.describe();
      if (status.name !== 'RUNNING') throw nobody();
      await requireWorker(this.client);
      return await whileServed(this.client, ask(handle));
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) throw nobody();
      if (error instanceof WorkflowUpdateFailedError && error.cause instanceof ApplicationFailure) {
        const { type, message } = error.cause;
        throw new FederatorError((type ?? 'InvalidInput') as FederatorErrorType, message);
      }
      throw temporalUnreachable(error) ?? error;
    }
  }

  private async outcome<T>(handle: WorkflowHandle): Promise<T> {
    try {
      return (await handle.result()) as T;
    } catch (error) {
      throw error instanceof WorkflowFailedError ? federatorError(error) : error;
    }
  }

  private handle(federation: string, workflowId: string, runId: string): ChangeHandle {
    const { namespace } = this.client.options;
    const link = `${webUiUrl()}/namespaces/${namespace}/workflows/${encodeURIComponent(workflowId)}/${runId}/history`;
    return { federation, workflowId, runId, link };
  }

  private description(federation: string, execution: ListedWorkflow): ChangeDescription {
    const { workflowId, runId, type, status, startTime, closeTime, memo } = execution;
    const requestedBy = memo?.[REQUESTED_BY];
    return {
      ...this.handle(federation, workflowId, runId),
      type,
      status: status.name,
      startedAt: startTime.toISOString(),
      ...(closeTime === undefined ? {} : { endedAt: closeTime.toISOString() }),
      ...(typeof requestedBy === 'string' ? { requestedBy } : {}),
      ...(memo?.[PLAN_ONLY] === true ? { planOnly: true } : {}),
    };
  }
}

function silent(federation: string): FederatorError {
  return new FederatorError(
    'TemporalUnreachable',
    `The monitor of ${federation} has not answered within ${HEALTH_MS / 1_000} s: its worker is missing, or has too much to do. Try again in a moment.`,
  );
}

/** What everybody who looks at a workflow is to see of it: who asked for it, and that it only plans. */
function memoOf(requestedBy: string | undefined, planOnly = false): { memo?: Record<string, unknown> } {
  const memo = {
    ...(requestedBy === undefined ? {} : { [REQUESTED_BY]: requestedBy }),
    ...(planOnly ? { [PLAN_ONLY]: true } : {}),
  };
  return Object.keys(memo).length === 0 ? {} : { memo };
}

/** The clusters that a change is about, for its summary. */
function concerned(name: keyof Changes, input: Changes[keyof Changes]): string {
  if ('cluster' in input && input.cluster !== undefined) return input.cluster;
  if ('from' in input) return `${input.from.cluster} → ${input.to.cluster}`;
  if ('clusters' in input && input.clusters.length > 0) return input.clusters.join(', ');
  return name === 'addCluster' ? 'the one that is not a member' : 'its members';
}

/** What failed a workflow, as the error that was raised where it happened. */
function federatorError({ cause: failure, message }: WorkflowFailedError): FederatorError {
  // An activity's failure only says where it happened; what happened is its cause.
  const cause = failure instanceof ActivityFailure ? failure.cause : failure;
  if (cause instanceof CancelledFailure) {
    // A setup says itself that it was undone; what only takes away stops where it is.
    return new FederatorError(
      'Cancelled',
      'It was cancelled. What it had done by then is not undone: run it again to finish it.',
    );
  }
  if (cause instanceof TerminatedFailure) {
    return new FederatorError(
      'Cancelled',
      'The workflow was terminated, so nothing was undone. Run it again, or tear the federation down.',
    );
  }
  if (cause instanceof TimeoutFailure) {
    return new FederatorError('TimedOut', `It has not ended in time, and was given up (${cause.message}). Try again.`);
  }
  if (cause instanceof ApplicationFailure) {
    const [told] = (cause.details ?? []) as ({ withoutOthers?: string } | undefined)[];
    return new FederatorError((cause.type ?? 'Internal') as FederatorErrorType, cause.message, {
      withoutOthers: told?.withoutOthers,
    });
  }
  return new FederatorError('Internal', cause?.message ?? message);
}

/** Names a choice of clusters in few letters; undefined for none. */
function digestOf(clusters: readonly string[]): string | undefined {
  if (clusters.length === 0) return undefined;
  return createHash('sha256')
    .update(JSON.stringify([...clusters].sort()))
    .digest('base64url')
    .slice(0, 16);
}
