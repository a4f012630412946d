import type { ClusterFacts, Problem } from '../contract/facts.js';
import type { EndpointProfile, ServerConf } from '../contract/serverConf.js';
import { trusts } from './settings.js';
import { isOlder } from './version.js';

/** The first SPIRE that serves its bundle with a certificate from files (spire: CHANGELOG.md, #5163). */
const SERVING_CERT_FILE_SINCE = '1.10.1';

/** By which Go programs are told of other authorities than the system's (go: crypto/x509, root_unix.go). */
const ROOTS_VARIABLES = ['SSL_CERT_FILE', 'SSL_CERT_DIR'];
/** Below these Go looks for the system's authorities on Linux (go: crypto/x509, root_linux.go). */
const ROOTS_FOLDERS = ['/etc/ssl', '/etc/pki'];

/**
 * What stands in the way of bundle endpoints that authenticate themselves by https_web, as far as it can be told before
 * anything is changed: whether SPIRE can serve them, and whether those that are to trust them can verify them. SPIRE
 * verifies https_web against the authorities of its own container's system and takes no others (spire#5331).
 */
export function profileProblems(hub: string | undefined, clusters: readonly ClusterFacts[]): Problem[] {
  return clusters
    .filter(({ profile }) => profile.type === 'https_web')
    .flatMap((facts) => [
      ...servingProblems(facts),
      ...clusters
        .filter((trusting) => trusts(hub, trusting.cluster, facts.cluster))
        .flatMap((trusting) => verifyingProblems(trusting, facts)),
    ]);
}

/**
 * Trust domains whose bundles SPIRE server fetches and stores by itself, for as long as its configuration names them: it
 * needs no bundle to verify https_web. They are stored again after a deletion, and before any relationship is made.
 */
export function fetchedUnasked(federatesWith: ServerConf['federatesWith']): string[] {
  return Object.entries(federatesWith)
    .filter(([, entry]) => 'profile' in entry && entry.profile.type === 'https_web')
    .map(([trustDomain]) => trustDomain);
}

function servingProblems(facts: ClusterFacts): Problem[] {
  const { cluster, profile, serverConf, spireVersion } = facts;
  const problem = (message: string): Problem => ({ cluster, type: 'InvalidInput', message: `${cluster}: ${message}` });
  const { wanted } = profile;
  if (profile.problem !== undefined) return [{ cluster, type: 'EndpointNotAuthentic', message: profile.problem }];
  if (wanted === undefined) {
    const found = serverConf.bundleEndpoint?.profile;
    if (found?.type === 'https_web' && !('unreadable' in found)) return [];
    return [
      problem(
        'the inventory wants bundleEndpoint profile https_web, and server.conf does not say where the certificate is: say servingCertFile or acme in the inventory.',
      ),
    ];
  }
  if (!('servingCertFile' in wanted)) return acmeProblems(facts, wanted).map(problem);
  if (isOlder(spireVersion, SERVING_CERT_FILE_SINCE)) {
    return [
      problem(
        `SPIRE ${spireVersion} cannot serve its bundle with a certificate from files; ${SERVING_CERT_FILE_SINCE} is the first that can.`,
      ),
    ];
  }
  const { certFilePath, keyFilePath } = wanted.servingCertFile;
  return [certFilePath, keyFilePath]
    .filter((file) => !facts.container.mountPaths.some((folder) => isBelow(file, folder)))
    .map((file) =>
      problem(
        `${file} (servingCertFile in the inventory) is in no volume of container ${facts.server}: mount the Secret of the certificate into StatefulSet ${facts.server} first.`,
      ),
    );
}

/** An ACME server asks for the domain at port 443, and SPIRE must be what answers there. */
function acmeProblems({ endpointUrl }: ClusterFacts, wanted: EndpointProfile): string[] {
  if (!('acme' in wanted) || endpointUrl === undefined) return [];
  const { domainName } = wanted.acme;
  const { hostname, port } = new URL(endpointUrl);
  if (hostname === domainName && port === '') return [];
  return [
    `acme gets a certificate for ${domainName}, which must lead to the bundle endpoint at port 443, but the endpoint is at ${endpointUrl}. Correct domainName or the exposure in the inventory, or use servingCertFile.`,
  ];
}

function verifyingProblems(trusting: ClusterFacts, { cluster, profile }: ClusterFacts): Problem[] {
  const { mountPaths, environment } = trusting.container;
  const knowsMore =
    environment.some((name) => ROOTS_VARIABLES.includes(name)) ||
    mountPaths.some((folder) => ROOTS_FOLDERS.some((roots) => isBelow(folder, roots)));
  if (!profile.privateAuthority || knowsMore) return [];
  return [
    {
      cluster: trusting.cluster,
      type: 'InvalidInput',
      message:
        `${trusting.cluster}: SPIRE server would not believe the certificate of ${cluster}'s bundle endpoint. It verifies https_web against the authorities of its own container's system and takes no others (spire#5331), and an authority of your own (webPkiCA in the inventory) vouches for ${cluster}. ` +
        `Mount a file with that authority into StatefulSet ${trusting.server} and set SSL_CERT_FILE to its path (if the image has the authority already, to the image's own file); or let ${cluster} serve https_spiffe.`,
    },
  ];
}

function isBelow(file: string, folder: string): boolean {
  return file === folder || file.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}
