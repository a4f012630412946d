import { eventually } from '../../sandbox/kubernetes.js';
import type { DiagnosedCheck } from '../../src/contract/diagnosis.js';
import type { RepairRecord } from '../../src/contract/health.js';
import type { Verdict } from '../../src/contract/verify.js';
import { spireServer } from './snapshot.js';
import type { Testbed } from './testbed.js';
import { trustDomainOf } from './watched.js';

const MINUTE = 60_000;

export interface DiagnosisOutput {
  verdict: Verdict;
  wrong: (DiagnosedCheck & { anchor: string; command?: string; cause?: string; also?: string[] })[];
  proposals: { check: string; scope: string; action: string }[];
  repairs?: RepairRecord[];
}

export const namesOf = ({ wrong }: DiagnosisOutput) => wrong.map(({ name, scope }) => `${name}@${scope}`);

/** Asks `diagnose` about a federation of two. */
export class Diagnosing {
  constructor(
    private readonly testbed: Testbed,
    private readonly federation: string,
    private readonly clusters: readonly [string, string],
  ) {}

  async diagnose(...args: string[]): Promise<{ code: number; stderr: string; output: DiagnosisOutput }> {
    const { code, stdout, stderr } = await this.testbed.federator(
      'diagnose',
      '--federation',
      this.federation,
      '-o',
      'json',
      ...args,
    );
    return { code, stderr, output: JSON.parse(stdout === '' ? '{}' : stdout) as DiagnosisOutput };
  }

  /** Has both sides fetch now: a poll that failed while a server restarted is over with the next one. */
  async fetchBoth(): Promise<void> {
    const [one, other] = this.clusters;
    const fetch = (trusting: string, trusted: string) =>
      spireServer(
        this.testbed.directory,
        trusting,
        'federation',
        'refresh',
        '-id',
        `spiffe://${trustDomainOf(trusted)}`,
      );
    await Promise.all([fetch(one, other), fetch(other, one)]);
  }

  async untilWell(): Promise<void> {
    await eventually('nothing is wrong', async () => {
      await this.fetchBoth();
      const { code, output } = await this.diagnose();
      expect({ code, wrong: output.wrong }).toEqual({ code: 0, wrong: [] });
    });
  }

  /** Waits until this check of this scope is named, and nothing else. */
  async untilNamed(
    finds: string,
    { verdict = 'failed', code = 1 }: { verdict?: Verdict | undefined; code?: number | undefined } = {},
  ): Promise<DiagnosisOutput> {
    return eventually(
      `${finds} is named`,
      async () => {
        const said = await this.diagnose();
        expect(namesOf(said.output)).toEqual([finds]);
        expect(said).toMatchObject({ code, output: { wrong: [{ verdict }] } });
        return said.output;
      },
      2 * MINUTE,
    );
  }
}

/** What is said of everything that is named. */
export function expectExplained({ wrong }: DiagnosisOutput): void {
  for (const { name, ...said } of wrong) {
    expect(said).toMatchObject({
      evidence: expect.stringMatching(/\S/) as string,
      remedy: expect.stringMatching(/\S/) as string,
      cause: expect.stringMatching(/\S/) as string,
      command: expect.stringMatching(/^(npm run|kubectl) /) as string,
      anchor: `docs/runbook.md#${name}`,
    });
  }
}
