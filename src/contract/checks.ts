/** What is known of a check that fails, whatever it was that it saw. */
export interface CheckKnowledge {
  /** How it comes about. */
  cause: string;
  /** What to type next; kubectl is meant on the cluster that the check is about, of an edge the trusting one. */
  command: (federation: string) => string;
}

const setUpAgain = (federation: string) => `npm run start-workflow setupMesh -- --federation ${federation} --plan`;
const fixIt = (federation: string) => `npm run federator -- repair --federation ${federation}`;
const kubectl = (what: string) => () => `kubectl ${what}`;

const REMOVED = 'Somebody deleted or edited it, or a tool that deploys the cluster put its own version back.';

/** Every check by its name, which is also its heading in docs/runbook.md. */
export const CHECKS: Readonly<Record<string, CheckKnowledge>> = {
  cluster: {
    cause: 'The API server cannot be reached, refuses the credentials, or SPIRE is not as the engine needs it.',
    command: kubectl('get --raw /readyz'),
  },
  service: { cause: REMOVED, command: setUpAgain },
  route: { cause: REMOVED, command: setUpAgain },
  ingress: { cause: REMOVED, command: setUpAgain },
  port: { cause: 'The StatefulSet was deployed again without the port of the bundle endpoint.', command: setUpAgain },
  'server-conf': {
    cause:
      'server.conf was deployed again or edited, so bundle_endpoint or federates_with is lost or differs, or refresh_hint is not that of the other members.',
    command: setUpAgain,
  },
  endpoint: {
    cause: 'Something on the way ends TLS, leads to another server, or lets nothing through.',
    command: kubectl('get services,endpoints -A --field-selector metadata.name=spire-server-federation'),
  },
  identity: {
    cause:
      'A ClusterSPIFFEID without the class name, with its own trust domain, with one whose bundle is not stored, or masked by an older one.',
    command: kubectl('get clusterspiffeids -o yaml'),
  },
  policy: { cause: REMOVED, command: setUpAgain },
  edge: {
    cause: 'One of its two clusters could not be read.',
    command: (federation) => `npm run federator -- diagnose --federation ${federation}`,
  },
  relationship: {
    cause:
      'The ClusterFederatedTrustDomain was deleted or edited, lost its class name, or there are two for one trust domain.',
    command: kubectl('get clusterfederatedtrustdomains -o yaml'),
  },
  'stored-bundle': {
    cause:
      'The peer rotated its CA and this side has not fetched since: a link was down, or SPIRE cannot authenticate the peer any more, which it never mends by itself.',
    command: setUpAgain,
  },
  entries: {
    cause: 'No ClusterSPIFFEID federates with the peer.',
    command: kubectl('get clusterspiffeids'),
  },
  'server-down': {
    cause:
      'Its pod is gone, cannot be scheduled, cannot pull its image, or is not ready; or its StatefulSet was deleted or scaled to 0.',
    command: kubectl('get pods -A --field-selector metadata.name=spire-server-0 -o wide'),
  },
  'server-crash-loop': {
    cause: 'SPIRE server ends as soon as it starts: mostly it refuses its server.conf.',
    command: kubectl('logs -n zero-trust-workload-identity-manager spire-server-0 -c spire-server --previous'),
  },
  'ca-horizon': {
    cause: 'SPIRE server cannot make its next CA, or its CAs live too short for its peers to learn of the next one.',
    command: kubectl(
      'exec -n zero-trust-workload-identity-manager spire-server-0 -c spire-server -- ./spire-server localauthority x509 show',
    ),
  },
  stale: {
    cause: 'SPIRE server polls and does not store what the peer has now, or the way leads it to an older copy.',
    command: fixIt,
  },
  neverBootstrapped: {
    cause: 'The bundle was deleted from SPIRE server, or its datastore was made anew.',
    command: fixIt,
  },
  relationshipMissing: {
    cause:
      'SPIRE server does not have the relationship, though its ClusterFederatedTrustDomain is there: SPIRE controller manager does not run, or cannot reach it.',
    command: kubectl(
      'logs -n zero-trust-workload-identity-manager spire-server-0 -c spire-controller-manager --tail 200',
    ),
  },
  endpointUnreachable: {
    cause: 'The trusting cluster cannot reach the bundle endpoint of the trusted one, whatever others can.',
    command: kubectl('logs -n zero-trust-workload-identity-manager spire-server-0 -c spire-server --tail 200'),
  },
  unknownAuthority: {
    cause:
      'The peer changed its CA while this side could not fetch: what is stored cannot authenticate the peer any more.',
    command: fixIt,
  },
  wrongProfile: {
    cause:
      'SPIRE server still asks by a profile that it is not configured with any more, or something on the way presents another identity.',
    command: fixIt,
  },
  webCertificate: {
    cause:
      'With https_web: the certificate of the endpoint expired, names another host, or is of an unknown authority.',
    command: kubectl('logs -n zero-trust-workload-identity-manager spire-server-0 -c spire-server --tail 200'),
  },
  certificateTime: {
    cause:
      'The clocks of the two clusters are more than 10 s apart, or what serves the endpoint does not renew its certificate.',
    command: kubectl('logs -n zero-trust-workload-identity-manager spire-server-0 -c spire-server --tail 200'),
  },
  clock: {
    cause: 'The time service of its nodes does not run or cannot reach its servers.',
    command: kubectl('get --raw /readyz -v 8'),
  },
  pollerStalled: {
    cause: 'A peer that accepts connections and never answers, or a first bundle without refresh hint.',
    command: fixIt,
  },
  'refresh-hint': {
    cause: 'The bundle was stored by hand or by a script, as `bundle show` prints it: without a refresh hint.',
    command: fixIt,
  },
  workload: {
    cause: 'No ClusterSPIFFEID selects the pod, what selects it does harm, or the pod cannot reach the Workload API.',
    command: () => 'npm run federator -- workload show <namespace>/<pod>',
  },
  'federates-with-key': {
    cause: 'federates_with is keyed by a URL; SPIRE takes the key for a trust domain and ignores the peer.',
    command: kubectl('get configmaps -A --field-selector metadata.name=spire-server -o yaml'),
  },
  'managed-route': {
    cause: 'spec.federation.managedRoute was switched off, or the operator does not run.',
    command: kubectl('get spireserver cluster -o yaml'),
  },
  'spire-server': {
    cause: 'spec.federation of SpireServer cluster was edited, or SpireServer was made anew without it.',
    command: setUpAgain,
  },
  rendering: {
    cause: "ZTWIM's operator does not run, is in create-only mode, or refuses what SpireServer says.",
    command: kubectl('get spireserver cluster -o yaml'),
  },
  'member-removed': {
    cause: 'Everything of the federation is gone from the cluster at once, which looks like somebody’s will.',
    command: setUpAgain,
  },
};

/** Where a check is explained. */
export function checkAnchor(name: string): string {
  return `docs/runbook.md#${name}`;
}
