#!/usr/bin/env bash
# The bare steps of adding a cluster to a mesh, one after the other, as a script of kubectl calls does them: no preflight,
# no gates, no undo. What addCluster is measured against.
#   sequential-add.sh NEWCOMER_KUBECONFIG MEMBER_KUBECONFIG…
set -euo pipefail

namespace=zero-trust-workload-identity-manager
class=zero-trust-workload-identity-manager-spire
kubeconfigs=("$@")
k() { kubectl --kubeconfig "${kubeconfigs[$1]}" -n "$namespace" "${@:2}"; }
spire() { k "$1" exec spire-server-0 -c spire-server -- ./spire-server "${@:2}"; }
last=$((${#kubeconfigs[@]} - 1))

k 0 apply -f - >/dev/null <<YAML
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

trust_domains=() urls=()
for i in $(seq 0 "$last"); do
  trust_domains[i]=$(k "$i" get configmap spire-server -o 'jsonpath={.data.server\.conf}' |
    sed -n 's/.*"trust_domain": "\([^"]*\)".*/\1/p')
  until urls[i]=$(k "$i" get route spire-server-federation -o 'jsonpath={.spec.host}') && [ -n "${urls[i]}" ]; do :; done
done

for i in $(seq 0 "$last"); do
  peers=()
  for j in $(seq 0 "$last"); do [ "$i" = "$j" ] || peers+=("${trust_domains[j]}" "${urls[j]}"); done
  conf=$(k "$i" get configmap spire-server -o 'jsonpath={.data.server\.conf}' |
    node -e '
      const peers = process.argv.slice(1);
      const conf = JSON.parse(require("fs").readFileSync(0, "utf8"));
      const federates_with = {};
      for (let i = 0; i < peers.length; i += 2) federates_with[peers[i]] = { bundle_endpoint_url: `https://${peers[i + 1]}`,
        bundle_endpoint_profile: { https_spiffe: { endpoint_spiffe_id: `spiffe://${peers[i]}/spire/server` } } };
      conf.server.federation = { bundle_endpoint: { address: "0.0.0.0", port: 8443 }, federates_with };
      console.log(JSON.stringify({ data: { "server.conf": JSON.stringify(conf, null, 2) } }));
    ' "${peers[@]}")
  k "$i" patch configmap spire-server --type merge -p "$conf" >/dev/null
  k "$i" patch statefulset spire-server -p '{"spec":{"template":{"spec":{"containers":[{"name":"spire-server","ports":[{"containerPort":8443,"name":"federation"}]}]}}}}' >/dev/null
  k "$i" rollout restart statefulset spire-server >/dev/null
  k "$i" rollout status statefulset spire-server --timeout=60s >/dev/null
done

relate() { # trusting trusted
  local bundle
  bundle=$(spire "$2" bundle show -format spiffe)
  k "$1" apply -f - >/dev/null <<YAML
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterFederatedTrustDomain
metadata: {name: "${trust_domains[$2]}"}
spec:
  className: $class
  trustDomain: ${trust_domains[$2]}
  bundleEndpointURL: https://${urls[$2]}
  bundleEndpointProfile: {type: https_spiffe, endpointSPIFFEID: "spiffe://${trust_domains[$2]}/spire/server"}
  trustDomainBundle: |-
$(printf '%s\n' "$bundle" | sed 's/^/    /')
YAML
  until spire "$1" federation refresh -id "spiffe://${trust_domains[$2]}" >/dev/null 2>&1; do :; done
}
for i in $(seq 1 "$last"); do
  relate 0 "$i"
  relate "$i" 0
done
