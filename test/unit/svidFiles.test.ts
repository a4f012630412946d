import { splitCertificates } from '../../sandbox/svidFiles.js';

const short = Buffer.from([0x30, 0x03, 1, 2, 3]);
const long = Buffer.concat([Buffer.from([0x30, 0x82, 0x01, 0x2c]), Buffer.alloc(300, 7)]);

describe('splitCertificates', () => {
  it('splits what was put together', () => {
    const parts = [short, long, short, long];
    expect(splitCertificates(Buffer.concat(parts))).toEqual(parts);
  });

  it('gives nothing for nothing', () => {
    expect(splitCertificates(Buffer.alloc(0))).toEqual([]);
  });

  it.each([
    ['another tag', Buffer.from([0x31, 0x00])],
    ['an end that is missing', long.subarray(0, 200)],
    ['a header that is missing', Buffer.from([0x30, 0x82])],
    ['an indefinite length', Buffer.from([0x30, 0x80, 0, 0])],
  ])('refuses %s', (_what, der) => {
    expect(() => splitCertificates(der)).toThrow(/DER certificate/);
  });
});
