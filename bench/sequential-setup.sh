#!/usr/bin/env bash
# The bare steps of federating two clusters, one after the other, as a script of kubectl calls does them: no preflight,
# no gates, no undo. What setupPair is measured against.
#   sequential-setup.sh KUBECONFIG_A KUBECONFIG_B
set -euo pipefail

namespace=zero-trust-workload-identity-manager
class=zero-trust-workload-identity-manager-spire
kubeconfigs=("$1" "$2")
k() { kubectl --kubeconfig "${kubeconfigs[$1]}" -n "$namespace" "${@:2}"; }
spire() { k "$1" exec spire-server-0 -c spire-server -- ./spire-server "${@:2}"; }

trust_domains=() urls=()
for i in 0 1; do
  trust_domains[i]=$(k "$i" get configmap spire-server -o 'jsonpath={.data.server\.conf}' |
    sed -n 's/.*"trust_domain": "\([^"]*\)".*/\1/p')
done

for i in 0 1; do
  k "$i" apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Service
metadata: {name: spire-server-federation}
spec:
  selector: {app.kubernetes.io/name: spire-server}
  ports: [{name: federation, port: 8443, targetPort: 8443}]
---
apiVersion: route.openshift.io/v1
kind: Route
metadata: {name: spire-server-federation}
spec:
  to: {kind: Service, name: spire-server-federation}
  port: {targetPort: federation}
  tls: {termination: passthrough}
YAML
  until urls[i]=$(k "$i" get route spire-server-federation -o 'jsonpath={.spec.host}') && [ -n "${urls[i]}" ]; do :; done
done

for i in 0 1; do
  peer=$((1 - i))
  conf=$(k "$i" get configmap spire-server -o 'jsonpath={.data.server\.conf}' |
    node -e '
      const [domain, host] = process.argv.slice(1);
      const conf = JSON.parse(require("fs").readFileSync(0, "utf8"));
      conf.server.federation = {
        bundle_endpoint: { address: "0.0.0.0", port: 8443 },
        federates_with: { [domain]: { bundle_endpoint_url: `https://${host}`,
          bundle_endpoint_profile: { https_spiffe: { endpoint_spiffe_id: `spiffe://${domain}/spire/server` } } } },
      };
      console.log(JSON.stringify({ data: { "server.conf": JSON.stringify(conf, null, 2) } }));
    ' "${trust_domains[peer]}" "${urls[peer]}")
  k "$i" patch configmap spire-server --type merge -p "$conf" >/dev/null
  k "$i" patch statefulset spire-server -p '{"spec":{"template":{"spec":{"containers":[{"name":"spire-server","ports":[{"containerPort":8443,"name":"federation"}]}]}}}}' >/dev/null
  k "$i" rollout status statefulset spire-server --timeout=60s >/dev/null
done

for i in 0 1; do
  peer=$((1 - i))
  bundle=$(spire "$peer" bundle show -format spiffe)
  k "$i" apply -f - >/dev/null <<YAML
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterFederatedTrustDomain
metadata: {name: "${trust_domains[peer]}"}
spec:
  className: $class
  trustDomain: ${trust_domains[peer]}
  bundleEndpointURL: https://${urls[peer]}
  bundleEndpointProfile: {type: https_spiffe, endpointSPIFFEID: "spiffe://${trust_domains[peer]}/spire/server"}
  trustDomainBundle: |-
$(printf '%s\n' "$bundle" | sed 's/^/    /')
YAML
done
for i in 0 1; do
  until spire "$i" federation refresh -id "spiffe://${trust_domains[$((1 - i))]}" >/dev/null 2>&1; do :; done
done
