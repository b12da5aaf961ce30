#!/usr/bin/env bash
# The container's own exam, without an engine of containers: a root with what the Containerfile
# copies and nothing else, read-only, in namespaces of its own; in it the broker as user 10001
# with no rights, as a container of its own and as the pod of the Helm chart: with a volume
# whose root a group may write to, a file of configuration and a folder of secrets as Kubernetes
# makes them. As root. Usage: packaging/container/test.sh BINARY
set -euo pipefail
cd "$(dirname "$0")"
binary=$(realpath "$1")
(($(id -u) == 0)) || { echo "namespaces and users take root"; exit 1; }
bad() { echo "BAD: $*" >&2; cat "$work"/*.log >&2 2>/dev/null || true; exit 1; }
work=$(mktemp -d)
chmod 0755 "$work"
pod=
finish() {
  if [[ -n $pod ]]; then kill -9 "$pod" 2>/dev/null || true; wait "$pod" 2>/dev/null || true; fi
  umount "$work/credentials" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap finish EXIT

for line in 'FROM scratch' 'USER 10001:10001' 'VOLUME /var/lib/redoubt' 'ENTRYPOINT ["/usr/bin/redoubt"]' 'CMD ["serve"]' 'COPY --from=build --chown=10001:10001 /data /var/lib/redoubt'; do
  grep -qxF "$line" Containerfile || bad "the Containerfile has no line $line, and this exam is of another one"
done
[[ $(sed -n '/^FROM scratch/,$p' Containerfile | grep -c '^COPY') == 3 ]] || bad "the Containerfile copies something that is not tried here"
root=$work/root
mkdir -p "$root"/{proc,dev,etc/ssl/certs,usr/bin,var/lib,run/credentials/redoubt,etc/redoubt,volume}
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
install -d -m 0700 -o 10001 -g 10001 "$root/var/lib/redoubt"
cp "$binary" "$root/usr/bin/redoubt"
touch "$root/etc/redoubt/redoubt.yaml"

# inside SETUP ARGS...: the entry point with ARGS, in a root that SETUP has filled.
inside() {
  local setup=$1
  shift
  exec unshare --mount --pid --fork --kill-child --ipc --uts --net bash -euc '
    root=$1 work=$2 setup=$3
    shift 3
    ip link set lo up
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for one in null zero random urandom; do touch "$root/dev/$one"; mount --bind "/dev/$one" "$root/dev/$one"; done
    eval "$setup"
    mount -o remount,bind,ro "$root"
    cd "$root"
    exec prlimit --core=0:0 setpriv --bounding-set=-all,+sys_chroot,+setuid,+setgid --inh-caps=-all --no-new-privs chroot --userspec=10001:10001 . /usr/bin/redoubt "$@"
  ' inside "$root" "$work" "$setup" "$@"
}
# at ARGS...: the same program in the running container, as kubectl exec would.
at() {
  local child
  child=$(pgrep -P "$pod" | head -1)
  env -i ${credentials:+CREDENTIALS_DIRECTORY=/run/credentials/redoubt} nsenter --target "$child" --mount --pid --net --ipc --uts --root --setuid 10001 --setgid 10001 /usr/bin/redoubt "$@"
}
ready() {
  for _ in $(seq 300); do
    if at status --ready >/dev/null 2>&1; then return 0; fi
    kill -0 "$pod" 2>/dev/null || return 1
    sleep 0.2
  done
  return 1
}
stop() {
  kill -TERM "$(pgrep -P "$pod" | head -1)" && wait "$pod" || bad "$1: it did not end well"
  pod=
}
judged() { # NAME ROWS: these rows are a success
  at doctor --within 1m --only "$2" >"$work/doctor.log" 2>&1 || true
  grep -q '^score 100/100' "$work/doctor.log" || bad "$1: redoubt doctor"
  grep '^score' "$work/doctor.log"
}
rows=P1.2,P1.7,P1.8,P1.9,P2.2,P3.1,P3.2,P3.3,P4.2,P5.1,P5.12,P5.13

[[ $("$binary" version) == redoubt* ]] && ! ldd "$binary" >/dev/null 2>&1 || bad "the binary is not static"
credentials=
inside 'mkdir "$work/own"; chown 10001:10001 "$work/own"; chmod 0700 "$work/own"; mount --bind "$work/own" "$root/var/lib/redoubt"' serve >"$work/serve.log" 2>&1 &
pod=$!
ready || bad "the container is not ready"
echo "good: container: ready as user 10001 on a root that is read-only; $(judged container "$rows")"
stop container

# What kubelet makes: the root of the volume with the group of fsGroup, setgid and open to it.
mkdir "$work/pv" && chown 0:10001 "$work/pv" && chmod 2775 "$work/pv"
folder='mount --bind "$work/pv" "$root/volume"'
(inside "$folder" init --folder --data-dir /volume/data) >"$work/init.log" 2>&1 || bad "the first container of the pod"
(inside "$folder" init --folder --data-dir /volume/data) >"$work/init.log" 2>&1 || bad "the first container of the pod, the second time"
[[ $(stat -c '%a %u' "$work/pv/data") == "2700 10001" ]] || bad "the folder is $(stat -c '%a %u' "$work/pv/data")"
# A Secret: a tmpfs that anybody could write to but for its sticky bit, names that are links.
mkdir "$work/credentials" && mount -t tmpfs -o mode=1777 tmpfs "$work/credentials"
mkdir "$work/credentials/..2026" && chgrp 10001 "$work/credentials/..2026" && chmod 2755 "$work/credentials/..2026"
ln -s ..2026 "$work/credentials/..data"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=mqtt.example.com -addext subjectAltName=DNS:mqtt.example.com,DNS:localhost \
  -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth -keyout "$work/credentials/..2026/tls.key" -out "$work/credentials/..2026/tls.crt" 2>/dev/null
chgrp 10001 "$work"/credentials/..2026/tls.*
chmod 0440 "$work"/credentials/..2026/tls.*
for one in tls.key tls.crt; do ln -s "..data/$one" "$work/credentials/$one"; done
cat >"$work/redoubt.yaml" <<'CONFIG'
listeners:
  mqtts:
    protocol: mqtts
    bind: [":8883"]
    tls:
      certificates: [{cert: /run/credentials/redoubt/tls.crt, key: "credential:tls.key"}]
CONFIG
chmod 0444 "$work/redoubt.yaml"
credentials=yes
export CREDENTIALS_DIRECTORY=/run/credentials/redoubt
inside 'mount --bind "$work/pv/data" "$root/var/lib/redoubt"
  mount --bind "$work/redoubt.yaml" "$root/etc/redoubt/redoubt.yaml"; mount -o remount,bind,ro "$root/etc/redoubt/redoubt.yaml"
  mount --bind "$work/credentials" "$root/run/credentials/redoubt"; mount -o remount,bind,ro "$root/run/credentials/redoubt"' serve --config /etc/redoubt/redoubt.yaml >"$work/serve.log" 2>&1 &
pod=$!
ready || bad "the pod is not ready"
[[ $(at status) == *"mqtt.example.com"* ]] || bad "the pod does not show the certificate of the Secret: $(at status)"
at user add device1 --config /etc/redoubt/redoubt.yaml >"$work/user.log" 2>&1 || bad "redoubt user add in the pod"
echo "good: pod: ready in a volume of the group, with the certificate of a Secret; $(judged pod "$rows")"
stop pod
