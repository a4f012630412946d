import type { Verdict } from '../../src/contract/verify.js';
import { boundedChecks, checker } from '../../src/federation/check.js';

const checks = (count: number, verdict: Verdict) =>
  Array.from({ length: count }, (_, index) => checker(`c${index}`)('stored-bundle', verdict, 'x'.repeat(150)));

test('what fits is answered whole', () => {
  const all = [...checks(1_000, 'ok'), ...checks(10, 'failed')];
  expect(boundedChecks('prod', all)).toEqual(all);
});

test('of what does not fit, all that are wrong, and how many are ok', () => {
  const bounded = boundedChecks('prod', [...checks(30_000, 'ok'), ...checks(2, 'failed')]);
  expect(bounded.map(({ scope, verdict }) => [scope, verdict])).toEqual([
    ['c0', 'failed'],
    ['c1', 'failed'],
    ['prod', 'ok'],
  ]);
  expect(bounded[2]?.evidence).toBe('30000 more checks are ok');
});

test('of too many that are wrong, the worst; what Temporal takes', () => {
  const bounded = boundedChecks('prod', [...checks(9_000, 'warning'), ...checks(9, 'failed'), ...checks(1, 'ok')]);
  expect(bounded.slice(0, 10).map(({ verdict }) => verdict)).toEqual([...Array<Verdict>(9).fill('failed'), 'warning']);
  expect(bounded.slice(-2).map(({ evidence }) => evidence)).toEqual([
    '5009 more checks are not ok',
    '1 more checks are ok',
  ]);
  expect(JSON.stringify(bounded).length).toBeLessThan(2_000_000);
});
