import { defineSearchAttributeKey } from '@temporalio/common';

/** By which workflows of a federation are found in the Temporal Web UI; one of SEARCH_ATTRIBUTES. */
export const FEDERATION_ATTRIBUTE = defineSearchAttributeKey('Federation', 'KEYWORD');
