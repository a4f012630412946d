// Temporal loads a failure converter with require(), in the worker and in the bundle of the workflows: so it is CommonJS.
import common = require('@temporalio/common');

/** Puts messages and stack traces of failures into payloads, which are encrypted then; what was not put there is read too. */
const failureConverter = new common.DefaultFailureConverter({ encodeCommonAttributes: true });

export = { failureConverter };
