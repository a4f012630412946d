const Sequencer = require('@jest/test-sequencer').default;

/** What takes longest begins first, so that no worker is left alone with it: minutes, then seconds, then milliseconds. */
const KINDS = ['/test/reliability/', '/test/sandbox/', '/test/workflows/', ''];

/** The order of test files. Jest's own goes by their sizes where it has no times of an earlier run. */
class LongestFirst extends Sequencer {
  async sort(tests) {
    const kindOf = ({ path }) => KINDS.findIndex((kind) => path.includes(kind));
    return [...(await super.sort(tests))].sort((one, other) => kindOf(one) - kindOf(other));
  }
}

module.exports = LongestFirst;
