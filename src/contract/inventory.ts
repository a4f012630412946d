import { z } from 'zod';

/** SPIRE's namespace in the Zero Trust Workload Identity Manager operator. */
export const DEFAULT_NAMESPACE = 'zero-trust-workload-identity-manager';
/** Name of SPIRE server's StatefulSet, container and ConfigMap. */
export const DEFAULT_SERVER = 'spire-server';

const dnsLabel = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a DNS label: lower-case letters, digits and dashes');

/** Stands for the clusters without a region where workers are told what to serve. */
export const NO_REGION = 'default';

/** A region becomes part of a task queue's name. */
export const regionName = dnsLabel.refine((name) => name !== NO_REGION, {
  message: `must not be ${NO_REGION}: that stands for clusters without a region`,
});

/** A name in DNS, as a certificate may have it; no port and no path. */
const hostName = z
  .string()
  .regex(
    /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/,
    'must be a host name in lower case, without port and path',
  );
const annotations = z.record(z.string().min(1), z.string());

/** How SPIRE's bundle endpoint is reached from other clusters. */
export const exposureSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('route'), host: hostName.optional() }),
  z.strictObject({
    type: z.literal('ingress'),
    host: hostName,
    /** The cluster's default class when absent. */
    ingressClassName: z.string().min(1).optional(),
    /** By which the Ingress controller is told to pass TLS through; those of ingress-nginx when absent. */
    annotations: annotations.optional(),
  }),
  z.strictObject({
    type: z.literal('loadBalancer'),
    /** Which controller is to make it, where a cluster has several. */
    loadBalancerClass: z.string().min(1).optional(),
    /** What the cloud has to know of it, e.g. that it is internal. */
    annotations: annotations.optional(),
  }),
  z.strictObject({
    type: z.literal('nodePort'),
    /** Name or address of a node, or of what spreads over the nodes. */
    host: z.union([hostName, z.ipv4(), z.ipv6()]),
    /** One is assigned by the cluster when absent. */
    nodePort: z.number().int().min(1).max(65535).optional(),
  }),
  z.strictObject({ type: z.literal('address'), url: z.url({ protocol: /^https$/ }) }),
]);
export type Exposure = z.infer<typeof exposureSchema>;

const absolutePath = z.string().regex(/^\/[^\0]+$/, 'must be a path in the container of SPIRE server, from /');
/** A Go duration, as SPIRE reads it. */
const duration = z.string().regex(/^(\d+(\.\d+)?(h|m|s))+$/, 'must be a duration such as 1h');

/** How the bundle endpoint authenticates itself. A server has one endpoint, so this is the cluster's, not a federation's. */
export const bundleEndpointSchema = z.discriminatedUnion('profile', [
  z.strictObject({ profile: z.literal('https_spiffe') }),
  z
    .strictObject({
      profile: z.literal('https_web'),
      /** Files in SPIRE server's container. */
      servingCertFile: z
        .strictObject({
          certFilePath: absolutePath,
          keyFilePath: absolutePath,
          fileSyncInterval: duration.default('1h'),
        })
        .optional(),
      acme: z
        .strictObject({
          directoryUrl: z.url({ protocol: /^https$/ }).optional(),
          domainName: hostName,
          email: z.email(),
          tosAccepted: z.literal(true, 'must be true: without it the ACME server gives no certificate'),
        })
        .optional(),
      /** PEM file, relative to the inventory, with the authorities that vouch for the certificate; public ones when absent. */
      webPkiCA: z.string().min(1).optional(),
    })
    .refine(({ servingCertFile, acme }) => servingCertFile === undefined || acme === undefined, {
      message: 'either servingCertFile or acme',
      path: ['acme'],
    }),
]);
export type BundleEndpoint = z.infer<typeof bundleEndpointSchema>;

/** One cluster of the inventory: where its Kubernetes API is, and what differs from the defaults. */
export const clusterSchema = z.strictObject({
  name: dnsLabel,
  /** A file (relative to the inventory) and a context in it; the current context when absent. Never the credentials themselves. */
  kubeconfig: z.strictObject({ path: z.string().min(1), context: z.string().min(1).optional() }),
  namespace: dnsLabel.default(DEFAULT_NAMESPACE),
  server: dnsLabel.default(DEFAULT_SERVER),
  /** Class of the ClusterFederatedTrustDomains; read from SPIRE controller manager's configuration when absent. */
  className: z.string().min(1).optional(),
  /** Detected when absent: a Route where the cluster has them. */
  exposure: exposureSchema.optional(),
  /** As SPIRE server's configuration has it when absent; where that has none, https_spiffe. */
  bundleEndpoint: bundleEndpointSchema.optional(),
  /** Only workers of this region reach it (docs/scaling.md, "Regions"); any worker does when absent. */
  region: regionName.optional(),
  /** How SPIRE server is configured: by its ConfigMap, or by the SpireServer of ZTWIM's operator. Detected when absent. */
  control: z.enum(['configMap', 'operator']).optional(),
});
export type Cluster = z.infer<typeof clusterSchema>;

/** A cluster without the way to its credentials: those of an onboarded one are in a store. */
export const clusterEntrySchema = clusterSchema.omit({ kubeconfig: true });
export type ClusterEntry = z.infer<typeof clusterEntrySchema>;

/** The inventory file: every cluster the engine may act on. */
export const inventorySchema = z
  .strictObject({
    /** Proxy through which the engine reaches bundle endpoints; HTTPS_PROXY of its environment when absent. */
    httpsProxy: z.url({ protocol: /^http$/ }).optional(),
    /** Image of the probe workloads. */
    probeImage: z.string().min(1).optional(),
    clusters: z.array(clusterSchema).min(1),
  })
  .check((context) => {
    const seen = new Set<string>();
    context.value.clusters.forEach((cluster, index) => {
      if (seen.has(cluster.name)) {
        context.issues.push({
          code: 'custom',
          message: `cluster ${cluster.name} is listed twice`,
          input: cluster.name,
          path: ['clusters', index, 'name'],
        });
      }
      seen.add(cluster.name);
    });
  });
export type Inventory = z.infer<typeof inventorySchema>;
