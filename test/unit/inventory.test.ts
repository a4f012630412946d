import { inventorySchema } from '../../src/contract/inventory.js';

const cluster = (name: string, extra: object = {}) => ({ name, kubeconfig: { path: `${name}.kubeconfig` }, ...extra });

function problems(inventory: unknown): string[] {
  const result = inventorySchema.safeParse(inventory);
  return result.success ? [] : result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
}

describe('the inventory', () => {
  it('names only what differs from an OpenShift cluster with the SPIRE operator', () => {
    const inventory = inventorySchema.parse({ clusters: [cluster('client-1')] });
    expect(inventory.clusters).toEqual([
      {
        name: 'client-1',
        kubeconfig: { path: 'client-1.kubeconfig' },
        namespace: 'zero-trust-workload-identity-manager',
        server: 'spire-server',
      },
    ]);
  });

  it('refuses the same cluster twice, and says where', () => {
    expect(problems({ clusters: [cluster('a'), cluster('b'), cluster('a')] })).toEqual([
      'clusters.2.name: cluster a is listed twice',
    ]);
  });

  it('refuses a misspelt setting instead of ignoring it', () => {
    expect(problems({ clusters: [cluster('a', { namepsace: 'spire' })] })).toEqual([
      expect.stringContaining('"namepsace"'),
    ]);
  });

  it.each([
    ['no clusters', { clusters: [] }],
    ['a name that Kubernetes would refuse', { clusters: [cluster('Client_1')] }],
    ['credentials in place of a reference', { clusters: [{ name: 'a', kubeconfig: 'apiVersion: v1' }] }],
    [
      'an endpoint that is not HTTPS',
      { clusters: [cluster('a', { exposure: { type: 'address', url: 'http://a:8443' } })] },
    ],
    [
      'a URL in place of a host',
      { clusters: [cluster('a', { exposure: { type: 'ingress', host: 'https://a.test' } })] },
    ],
    ['a host with a port', { clusters: [cluster('a', { exposure: { type: 'nodePort', host: 'a.test:443' } })] }],
    ['an unknown exposure', { clusters: [cluster('a', { exposure: { type: 'tunnel' } })] }],
  ])('refuses %s', (_case, inventory) => {
    expect(problems(inventory)).not.toEqual([]);
  });
});
