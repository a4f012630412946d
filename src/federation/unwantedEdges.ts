import type { RemovedRelationship } from '../contract/activities.js';
import type { PlannedStep } from '../contract/change.js';
import type { ClusterFacts, RelationshipFacts } from '../contract/facts.js';
import { ownRelationship } from './relationship.js';
import { trusts } from './settings.js';
import { step } from './step.js';
import { removal } from './teardown.js';

/** Whom a member trusts though the topology does not have it so, and how that ends. */
export interface EndingPlan {
  step: PlannedStep;
  edges: UnwantedEdge[];
}

export interface UnwantedEdge {
  trusted: ClusterFacts;
  /** The relationship as it is now. */
  before: RelationshipFacts;
  removed: RemovedRelationship;
}

/** Decides which edges of a federation end because it gets a hub, or another one. Pure. */
export function planEnding(
  { federation, hub }: { federation: string; hub?: string | undefined },
  clusters: readonly ClusterFacts[],
  facts: ClusterFacts,
  leftAlone: string[],
): EndingPlan {
  const { cluster } = facts;
  // One of a wanted edge may have got an unwanted trust domain: it is put right.
  const kept = clusters
    .filter((peer) => peer !== facts && trusts(hub, cluster, peer.cluster))
    .map((peer) => ownRelationship(facts, peer, federation));
  const edges = clusters
    .filter((peer) => peer !== facts && !trusts(hub, cluster, peer.cluster))
    .flatMap((trusted) =>
      facts.relationships
        .filter((each) => each.federation === federation && each.trustDomain === trusted.trustDomain)
        .filter((each) => !kept.includes(each))
        .map((before) => ({ trusted, before, removed: removal(federation, facts, before, leftAlone) })),
    );
  const trustDomains = edges.map(({ before }) => before.trustDomain);
  return {
    step: step(
      'endRelationships',
      cluster,
      `End the relationships of ${cluster} that hub ${hub ?? ''} does without`,
      edges.length > 0 ? 'delete' : 'none',
      trustDomains,
    ),
    edges,
  };
}
