import type { ChangeDescription, ChangeHandle, ClusterChange, FederatorClient } from '../client.js';
import type { ChangeProgress, ChangeResult } from '../contract/change.js';
import { FederatorError } from '../contract/errors.js';
import type { FederationHealth } from '../contract/health.js';
import { Members } from './members.js';
import { Shared } from './shared.js';

/** Nobody sees a difference of a second, and readers in their hundreds ask no more of Temporal than one. */
const AGE = { freshMs: 1_000, usableMs: 2_000 };
/** Whoever follows a change asks twice within a second. */
const FOLLOWED_AGE = { freshMs: 400, usableMs: 2_000 };
/** Newest changes that are kept at hand of a federation; who wants more has them asked for. */
const CHANGES = 50;
/** Newest changes by whose state it is noticed that one began or ended: more do not run at the same time. */
const RECENT = 20;
/** Ended changes that are kept at hand; one of many clusters has hundreds of steps. */
const ENDED = 20;

/** A change with where it stands, or how it ended. */
export interface ChangeDetail extends ChangeDescription {
  progress?: ChangeProgress;
  result?: ChangeResult;
  /** `withoutOthers`: the message for who may not know of other federations, where it tells of such. */
  error?: { type: string; message: string; withoutOthers?: string };
}

/** Of a change that is followed. */
interface Standing {
  /** As Temporal names it. */
  status: string;
  /** Undefined while no worker can tell. */
  progress: ChangeProgress | undefined;
}

/** What is read of Temporal and the clusters, asked for once for all who read at about the same time. */
export class Reads {
  readonly members: Members;
  private readonly healths: Shared<FederationHealth | FederatorError>;
  private readonly newest: Shared<ChangeDescription[]>;
  private readonly recent: Shared<ChangeDescription[]>;
  private readonly onboardings: Shared<ClusterChange | undefined>;
  private readonly followed: Shared<Standing>;
  private readonly ended = new Map<string, ChangeDetail>();

  constructor(private readonly client: FederatorClient) {
    this.members = new Members(client);
    // That nobody watches is an answer, too.
    this.healths = new Shared((federation) => client.health(federation).catch(notFound), AGE);
    this.newest = new Shared((federation) => client.listChanges({ federation, limit: CHANGES }), AGE);
    this.recent = new Shared(
      (federation) => client.listChanges({ ...(federation && { federation }), limit: RECENT }),
      AGE,
    );
    this.followed = new Shared((key) => this.askStanding(key), FOLLOWED_AGE);
    this.onboardings = new Shared((cluster) => client.clusterChange(cluster), AGE);
  }

  /** An onboarding or offboarding of a cluster, by default the newest; undefined where there was none. */
  async clusterChange(cluster: string, run?: string): Promise<ClusterChange | undefined> {
    if (run === undefined) return this.onboardings.get(cluster);
    const change = await this.client.clusterChange(cluster, run);
    // Whoever has seen that it ended finds it ended with the cluster, too.
    if (change?.status !== 'RUNNING') this.onboardings.forget(cluster);
    return change;
  }

  /** What the monitor knows. @throws FederatorError NotFound where nobody watches */
  async health(federation: string): Promise<FederationHealth> {
    const health = await this.healths.get(federation);
    if (health instanceof FederatorError) throw health;
    return health;
  }

  /** The same; undefined where nobody watches. */
  async knownHealth(federation: string): Promise<FederationHealth | undefined> {
    const health = await this.healths.get(federation);
    return health instanceof FederatorError ? undefined : health;
  }

  /** The newest changes of a federation. */
  async changes(federation: string, limit: number): Promise<ChangeDescription[]> {
    if (limit > CHANGES) return this.client.listChanges({ federation, limit });
    return (await this.newest.get(federation)).slice(0, limit);
  }

  /** The few newest ones, of a federation or of all. */
  recentChanges(federation = ''): Promise<ChangeDescription[]> {
    return this.recent.get(federation);
  }

  /** One change; of one that has ended nothing is asked twice. @throws FederatorError NotFound */
  async change(federation: string, runId: string): Promise<ChangeDetail> {
    const key = `${federation} ${runId}`;
    const known = this.ended.get(key);
    if (known !== undefined) return known;
    const change = await this.client.describeChange(federation, runId);
    const progress = await this.client.progress(change);
    const outcome = change.status === 'RUNNING' ? {} : await ended(() => this.client.result(change));
    const detail = { ...change, ...(progress === undefined ? {} : { progress }), ...outcome };
    if (change.status !== 'RUNNING') this.keep(key, federation, detail);
    return detail;
  }

  /** Where a change stands: once it has ended, its progress is the last. */
  standing({ federation, runId }: Pick<ChangeHandle, 'federation' | 'runId'>): Promise<Standing> {
    return this.followed.get(`${federation} ${runId}`);
  }

  /** What is read from now on is as it is then: somebody may have changed something. @param federation absent: any */
  forget(federation?: string): void {
    this.healths.forget(federation);
    this.newest.forget(federation);
    this.recent.forget(federation);
    if (federation !== undefined) this.recent.forget('');
    this.onboardings.forget();
    this.members.forget();
  }

  private async askStanding(key: string): Promise<Standing> {
    const [federation = '', runId = ''] = key.split(' ');
    const change = await this.client.describeChange(federation, runId);
    return { status: change.status, progress: await this.client.progress(change) };
  }

  private keep(key: string, federation: string, detail: ChangeDetail): void {
    // Whoever has seen that it ended finds it ended wherever it is listed.
    this.forget(federation);
    // No worker could tell its steps; the next one may.
    if (detail.progress === undefined) return;
    this.ended.set(key, detail);
    const [oldest] = this.ended.keys();
    if (this.ended.size > ENDED && oldest !== undefined) this.ended.delete(oldest);
  }
}

function notFound(error: unknown): FederatorError {
  if (error instanceof FederatorError && error.type === 'NotFound') return error;
  throw error;
}

async function ended(result: () => Promise<ChangeResult>): Promise<Pick<ChangeDetail, 'result' | 'error'>> {
  try {
    return { result: await result() };
  } catch (error) {
    if (!(error instanceof FederatorError)) throw error;
    const { type, message, withoutOthers } = error;
    return { error: { type, message, ...(withoutOthers === undefined ? {} : { withoutOthers }) } };
  }
}
