export { addCluster } from './addCluster.js';
export { adopt } from './adopt.js';
export { applyFederation } from './applyFederation.js';
export { removeCluster } from './removeCluster.js';
export { setupMesh } from './setupMesh.js';
export { setupPair } from './setupPair.js';
export { teardown } from './teardown.js';
export { verify } from './verify.js';
