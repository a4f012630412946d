#!/usr/bin/env bash
# The bare steps of adding a cluster to a mesh, one after the other, as a careful person's script of kubectl calls does
# them: every restart is waited for, every bundle is fetched until it arrives. No preflight, no gates, no undo, no sleeps.
# What addCluster is measured against.
#   sequential-add.sh NEWCOMER_KUBECONFIG MEMBER_KUBECONFIG…
set -euo pipefail

namespace=zero-trust-workload-identity-manager
class=zero-trust-workload-identity-manager-spire
kubeconfigs=("$@")
clusters=("${!kubeconfigs[@]}")
members=("${clusters[@]:1}")
newcomer=0
k() { timeout 60 kubectl --kubeconfig "${kubeconfigs[$1]}" -n "$namespace" "${@:2}"; }
spire() { k "$1" exec spire-server-0 -c spire-server -- ./spire-server "${@:2}"; }
retry() { # until it succeeds, for a minute
  local end=$((SECONDS + 60))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || { echo "gave up: $*" >&2; return 1; }
  done
}

k "$newcomer" apply -f - >/dev/null <<YAML
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

confs=() trust_domains=() urls=()
read_host() { urls[$1]=$(k "$1" get route spire-server-federation -o 'jsonpath={.spec.host}') && [ -n "${urls[$1]}" ]; }
for i in "${clusters[@]}"; do
  confs[i]=$(k "$i" get configmap spire-server -o 'jsonpath={.data.server\.conf}')
  trust_domains[i]=$(jq -r .server.trust_domain <<<"${confs[i]}")
  retry read_host "$i"
done

configure() { # cluster peer…
  local conf=${confs[$1]} peer
  for peer in "${@:2}"; do
    conf=$(jq --arg domain "${trust_domains[peer]}" --arg host "${urls[peer]}" '
      .server.federation.bundle_endpoint //= {address: "0.0.0.0", port: 8443, refresh_hint: "300s"} |
      .server.federation.federates_with[$domain] = {
        bundle_endpoint_url: "https://\($host)",
        bundle_endpoint_profile: {https_spiffe: {endpoint_spiffe_id: "spiffe://\($domain)/spire/server"}}
      }' <<<"$conf")
  done
  k "$1" patch configmap spire-server --type merge -p "$(jq -n --arg conf "$conf" '{data: {"server.conf": $conf}}')" >/dev/null
}
configure "$newcomer" "${members[@]}"
k "$newcomer" patch statefulset spire-server -p '{"spec":{"template":{"spec":{"containers":[{"name":"spire-server","ports":[{"containerPort":8443,"name":"federation"}]}]}}}}' >/dev/null
k "$newcomer" rollout status statefulset spire-server --timeout=60s >/dev/null
for i in "${members[@]}"; do
  configure "$i" "$newcomer"
  k "$i" rollout restart statefulset spire-server >/dev/null
  k "$i" rollout status statefulset spire-server --timeout=60s >/dev/null
done

relate() { # trusting trusted bundle
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
$(sed 's/^/    /' <<<"$3")
YAML
}
refresh() { spire "$1" federation refresh -id "spiffe://${trust_domains[$2]}" >/dev/null 2>&1; }
newcomer_bundle=$(spire "$newcomer" bundle show -format spiffe)
for i in "${members[@]}"; do
  relate "$newcomer" "$i" "$(spire "$i" bundle show -format spiffe)"
  relate "$i" "$newcomer" "$newcomer_bundle"
done
for i in "${members[@]}"; do
  retry refresh "$newcomer" "$i"
  retry refresh "$i" "$newcomer"
done
