#!/usr/bin/env bash
# The chart's own exam: helm takes it, what is wrong is refused, and what it makes by default is
# packaging/helm/default.yaml, which the tests of the broker judge. No cluster is asked.
# Usage: packaging/helm/test.sh [-rewrite]; HELM is how helm is run.
set -euo pipefail
cd "$(dirname "$0")"
helm=${HELM:-go run helm.sh/helm/v3/cmd/helm@v3.22.0}
bad() { echo "BAD: $*" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
made() { $helm template redoubt redoubt --namespace mqtt --kube-version 1.30.0 "$@"; }

$helm lint --strict --quiet redoubt
{
  echo "# What the chart makes of its defaults: packaging/helm/test.sh -rewrite. Do not edit."
  echo "# Chart: sha256:$(find redoubt -type f | LC_ALL=C sort | xargs cat | sha256sum | cut -c1-64)"
  made
} >"$work/default.yaml"
if [[ ${1:-} == -rewrite ]]; then cp "$work/default.yaml" default.yaml; fi
cmp "$work/default.yaml" default.yaml || bad "default.yaml is not what the chart makes: packaging/helm/test.sh -rewrite"
echo "good: linted, and the defaults are as they are kept"

refused=0
while read -r set; do
  ! made --set "$set" >"$work/out" 2>&1 || bad "taken: $set"
  refused=$((refused + 1))
done <<'SETS'
image.tag=latest
image.digest=sha256:abc
config.node.data_dir=/elsewhere
config.listeners.plain.protocol=mqtt
config.listeners.plain.protocol=tcp,config.listeners.plain.bind={:1883}
config.listeners.mqtts.bind={:0}
config.listeners.mqtts.bind={127.0.0.1:8883},config.listeners.wss.bind={127.0.0.1:8084}
podDisruptionBudget.maxUnavailable=2
resources.limits=null
password=secret
users.device1=secret
volume.accessMode=ReadWriteMany
SETS
echo "good: $refused settings that are wrong are refused"

# Every listener has its port at each place, and those on loopback none.
made --set 'config.listeners.quic.protocol=quic,config.listeners.quic.bind={:14567},config.listeners.inner.protocol=mqtt,config.listeners.inner.bind={127.0.0.1:1883}' \
  --set service.type=LoadBalancer,credentials.secretName=mqtt-tls,networkPolicy.clients[0].ipBlock.cidr=10.0.0.0/8 >"$work/out"
for line in '- {port: 14567, protocol: UDP}' '- {name: quic, containerPort: 14567, protocol: UDP}' '- {name: quic, port: 14567, targetPort: quic, protocol: UDP}' \
  'externalTrafficPolicy: Local' 'cidr: 10.0.0.0/8' 'secret: {secretName: mqtt-tls, defaultMode: 0400}' '- {name: CREDENTIALS_DIRECTORY, value: /run/credentials/redoubt}'; do
  grep -qF -- "$line" "$work/out" || bad "a listener with quic: no line $line"
done
! grep -E '(p|P)ort: 1883' "$work/out" || bad "a listener on loopback has a port"
echo "good: ports are those of the listeners"
