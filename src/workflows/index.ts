export { setupPair } from './setupPair.js';
export { teardown } from './teardown.js';
export { verify } from './verify.js';
