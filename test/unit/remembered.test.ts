import { remembered } from '../../src/spire/remembered.js';

test('what was read is not read again, until newer texts have taken its place', () => {
  const read: string[] = [];
  const lengths = remembered((text) => {
    read.push(text);
    return { length: text.length };
  }, 2);
  expect(['a', 'bb', 'a', 'bb'].map((text) => lengths(text).length)).toEqual([1, 2, 1, 2]);
  expect(read).toEqual(['a', 'bb']);
  expect(lengths('ccc').length).toBe(3);
  expect(lengths('bb').length).toBe(2);
  expect(lengths('a').length).toBe(1);
  expect(read).toEqual(['a', 'bb', 'ccc', 'a']);
});

test('what cannot be read is not remembered', () => {
  let tries = 0;
  const failing = remembered(() => {
    tries++;
    throw new Error('unreadable');
  });
  expect(() => failing('x')).toThrow('unreadable');
  expect(() => failing('x')).toThrow('unreadable');
  expect(tries).toBe(2);
});
