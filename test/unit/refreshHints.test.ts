import { diagnoseFederation } from '../../src/federation/diagnosis.js';
import { resolveSettings } from '../../src/federation/settings.js';
import { federatedClusters } from '../support/freshCluster.js';

const FEDERATION = 'demo';

function withHints(...hints: (string | undefined)[]) {
  const names = hints.map((_, index) => `c${index}`);
  return federatedClusters(FEDERATION, names).map((facts, index) => {
    const { bundleEndpoint, ...rest } = facts.serverConf;
    const refreshHint = hints[index];
    return {
      ...facts,
      serverConf: { ...rest, bundleEndpoint: { ...bundleEndpoint, ...(refreshHint && { refreshHint }) } },
    };
  });
}

/** Members that are to be restarted, and what is said of them; of one that is `away` nothing is known. */
function found(hints: readonly string[], told?: number): string[] {
  const members = withHints(...hints).map((facts, index) => ({
    cluster: facts.cluster,
    problems: [],
    ...(hints[index] === 'away' ? {} : { facts, observation: { federatedEntries: {} } }),
  }));
  return diagnoseFederation(FEDERATION, members, [], { refreshHintSeconds: told }).findings.map(
    ({ check, scope, action, evidence }) =>
      `${check}@${scope} ${action}: ${/refresh_hint is [^,]*/.exec(evidence)?.[0]}`,
  );
}

test.each<[string, string[], number | undefined, string[]]>([
  ['all as the monitor was told', ['60s', '1m'], 60, []],
  ['all with another hint than the monitor was told', ['300s', '300s'], 60, []],
  ['most with another hint than the monitor was told', ['300s', '300s', '60s'], 60, ['c2', '60 s instead of 300 s']],
  ['one of two edited', ['60s', '3600s'], 60, ['c1', '3600 s instead of 60 s']],
  ['one of two edited, of which the monitor was told', ['60s', '3600s'], 3600, ['c0', '60 s instead of 3600 s']],
  ['one of two edited, where neither is as the monitor was told', ['60s', '3600s'], 300, []],
  ['one of two edited, where nothing was told', ['60s', '3600s'], undefined, []],
  ['one of three edited, where nothing was told', ['60s', '3600s', '60s'], undefined, ['c1', '3600 s instead of 60 s']],
  ['two against two', ['60s', '60s', '3600s', '3600s'], 60, []],
  ['one of two that can be read, where the third may decide', ['60s', '3600s', 'away'], 60, []],
])('refresh hints, %s', (_what, hints, told, [cluster, evidence]) => {
  expect(found(hints, told)).toEqual(
    cluster === undefined ? [] : [`server-conf@${cluster} restart: refresh_hint is ${evidence}`],
  );
});

test('where as many members have one hint as another, what the monitor was told decides what is put back', () => {
  const hintOf = (told?: number) => resolveSettings({}, FEDERATION, withHints('3600s', '60s'), told).refreshHintSeconds;
  expect(hintOf(60)).toBe(60);
  expect(hintOf(3600)).toBe(3600);
  expect(hintOf(300)).toBe(3600);
  expect(resolveSettings({}, FEDERATION, withHints('300s', '60s', '300s'), 60).refreshHintSeconds).toBe(300);
});
