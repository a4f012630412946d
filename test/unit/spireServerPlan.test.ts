import type { SpireServerFederation, SpireServerRecord } from '../../src/contract/control.js';
import type { WantedFederation } from '../../src/contract/serverConf.js';
import { detectControl, operatorComplaints, OPERATOR_DEPLOYMENT } from '../../src/federation/controlDetection.js';
import { operatorControl } from '../../src/federation/operatorControl.js';
import {
  rendersAnew,
  spireServerDifferences,
  spireServerRecord,
  takenBack,
  undonePatch,
  wantedSpireServer,
} from '../../src/federation/spireServerPlan.js';
import { freshCluster } from '../support/freshCluster.js';

const endpoint = { address: '0.0.0.0', port: 8443, refreshHintSeconds: 300 };
const peer = (name: string) => ({
  bundleEndpointUrl: `https://${name}`,
  profile: { type: 'https_spiffe' as const, endpointSpiffeId: `spiffe://${name}.test/spire/server` },
});
const entry = (name: string) => ({
  trustDomain: `${name}.test`,
  bundleEndpointUrl: `https://${name}`,
  bundleEndpointProfile: 'https_spiffe',
  endpointSpiffeId: `spiffe://${name}.test/spire/server`,
});
const wanted = (...peers: string[]): WantedFederation => ({
  bundleEndpoint: endpoint,
  federatesWith: Object.fromEntries(peers.map((name) => [`${name}.test`, peer(name)])),
  managedRoute: 'true',
});

describe('spec.federation', () => {
  test('has no empty list of peers, which the API refuses', () => {
    expect(wantedSpireServer(undefined, undefined, wanted())).toEqual({
      bundleEndpoint: { profile: 'https_spiffe', refreshHint: 300 },
      managedRoute: 'true',
    });
  });

  test('keeps the entries of others and their place; those that the engine wrote and wants no more go', () => {
    const before: SpireServerFederation = { bundleEndpoint: { refreshHint: 300 }, federatesWith: [entry('other')] };
    const first = wantedSpireServer(before, undefined, wanted('a', 'b'));
    expect(first.federatesWith).toEqual([entry('other'), entry('a'), entry('b')]);
    const record = spireServerRecord('demo', before, undefined, first, wanted('a', 'b'));
    const second = wantedSpireServer(first, record, wanted('b'));
    expect(second.federatesWith).toEqual([entry('other'), entry('b')]);
    expect(spireServerDifferences(first, second)).toEqual(['federatesWith still has a.test']);
  });

  test('is taken back as far as the operator allows: what there was not stays, without peers', () => {
    const written = wantedSpireServer(undefined, undefined, wanted('a'));
    const record = spireServerRecord('demo', undefined, undefined, written, wanted('a'));
    expect(takenBack(written, record)).toEqual({
      bundleEndpoint: { profile: 'https_spiffe', refreshHint: 300 },
      managedRoute: 'true',
    });
  });

  test('is undone to what a change found, and what others changed since stays', () => {
    const before: SpireServerFederation = {
      bundleEndpoint: { profile: 'https_spiffe', refreshHint: 120 },
      managedRoute: 'false',
      federatesWith: [entry('other')],
    };
    const written = wantedSpireServer(before, undefined, wanted('a'));
    const undo: Pick<SpireServerRecord, 'before' | 'written'> = { before, written };
    expect(undonePatch(written, undo)).toEqual(before);
    const edited = { ...written, federatesWith: [...(written.federatesWith ?? []), entry('late')] };
    expect(undonePatch(edited, undo).federatesWith).toEqual([entry('other'), entry('late')]);
  });

  test('restarts the server for what server.conf has of it, and not for the Route or an order', () => {
    const live = wantedSpireServer(undefined, undefined, wanted('a', 'b'));
    expect(rendersAnew(undefined, live)).toBe(true);
    expect(rendersAnew(live, { ...live, managedRoute: 'false' })).toBe(false);
    expect(rendersAnew(live, { ...live, federatesWith: [entry('b'), entry('a')] })).toBe(false);
    expect(rendersAnew(live, wantedSpireServer(undefined, undefined, wanted('a')))).toBe(true);
  });
});

describe('who configures SPIRE server', () => {
  const spireServer = {
    apiVersion: 'operator.openshift.io/v1alpha1',
    kind: 'SpireServer',
    metadata: { name: 'cluster' },
  };
  const configMap = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'spire-server', ownerReferences: [{ kind: 'SpireServer' }] },
  };
  const deployment = (env: { name: string; value?: string }[], availableReplicas = 1) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: OPERATOR_DEPLOYMENT },
    spec: { template: { spec: { containers: [{ env }] } } },
    status: { availableReplicas },
  });
  const current = [{ name: 'OPERATOR_VERSION', value: '1.0.1' }];
  const condition = { conditions: [{ type: 'CreateOnlyMode', status: 'True' }] };

  test.each([
    { case: 'nobody', evidence: {}, type: 'configMap' },
    { case: 'an operator that owns no ConfigMap', evidence: { spireServer }, type: 'configMap' },
    {
      case: 'an operator',
      evidence: { spireServer, configMap, deployment: deployment(current) },
      type: 'operator',
    },
    {
      case: 'an operator in create-only mode',
      evidence: {
        spireServer,
        configMap,
        deployment: deployment([...current, { name: 'CREATE_ONLY_MODE', value: 'True' }]),
      },
      type: 'configMap',
    },
    {
      case: 'one whose Deployment says otherwise than an old condition: the Deployment counts',
      evidence: {
        spireServer: { ...spireServer, status: condition },
        configMap,
        deployment: deployment([...current, { name: 'CREATE_ONLY_MODE', value: 'false' }]),
      },
      type: 'operator',
    },
  ])('$case', ({ evidence, type }) => {
    expect(detectControl('a', undefined, evidence)).toMatchObject({ type });
  });

  test('what the inventory says must go with it', () => {
    const evidence = { spireServer, configMap, deployment: deployment(current) };
    expect(detectControl('a', 'configMap', evidence)).toEqual({
      problem: expect.stringMatching(/reverts every edit/) as string,
    });
    expect(detectControl('a', 'operator', {})).toEqual({
      problem: expect.stringMatching(/there is no SpireServer/) as string,
    });
  });

  test('an operator that does not run is complained of', () => {
    expect(operatorComplaints({ spireServer, deployment: deployment(current, 0) })).toEqual([
      expect.stringMatching(/does not run/),
    ]);
  });
});

test('https_web from the inventory is refused under the operator, before anything is for good', () => {
  const facts = {
    ...freshCluster('a'),
    control: { type: 'operator' as const, told: 'the inventory says so', complaints: [] },
  };
  const web = {
    type: 'https_web' as const,
    servingCertFile: { certFilePath: '/run/web/tls.crt', keyFilePath: '/run/web/tls.key' },
  };
  const asked = { ...wanted(), bundleEndpoint: { ...endpoint, profile: web } };
  expect(operatorControl.plan(facts, asked).problems).toEqual([
    expect.stringMatching(/^a: the inventory wants bundleEndpoint profile https_web, and under the operator/),
  ]);
  expect(operatorControl.plan(facts, wanted()).problems).toEqual([]);
});
