import fc from 'fast-check';
import { sample } from '../support/faultSteps.js';

test('a sample is spread over all steps, and successive seeds leave none out', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 80 }),
      fc.integer({ min: 1, max: 10 }),
      fc.nat(1000),
      (steps, count, seed) => {
        const all = Array.from({ length: steps }, (_, index) => index);
        const taken = sample(all, count, seed);
        expect(taken.length).toBeLessThanOrEqual(count);
        const stride = Math.ceil(steps / count);
        const others = Array.from({ length: stride }, (_, turn) => sample(all, count, seed + turn));
        expect([...new Set(others.flat())].sort((a, b) => a - b)).toEqual(all);
      },
    ),
  );
});
