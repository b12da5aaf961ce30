#!/usr/bin/env bash
# The packages' own exam, as root: two builds of two clones are the same bytes; the deb is
# installed in a fresh Debian, upgraded, removed and purged; its files, modes, owners and unit
# are looked at; the broker runs there as its user, and redoubt doctor beside it. Nothing of
# the host changes. Wants mmdebstrap, systemd and util-linux.
# Usage: packaging/test.sh [DEB]; with a DEB nothing is built.
set -euo pipefail
cd "$(dirname "$0")/.."
(($(id -u) == 0)) || { echo "the fresh Debian takes root: sudo make package-test"; exit 1; }
command -v mmdebstrap >/dev/null || apt-get install -y --no-install-recommends mmdebstrap

work=$(mktemp -d)
root=${ROOT:-$work/root} # ROOT: a Debian that is there already
broker=
finish() {
  if [[ -n $broker ]]; then
    kill -9 "$broker" 2>/dev/null || true
    wait "$broker" 2>/dev/null || true
  fi
  umount "$root/proc" 2>/dev/null || true
  umount -R "$root/sys" 2>/dev/null || true
  rm -rf --one-file-system "$work" # what is still mounted there is the host's
}
trap finish EXIT
passed=0
good() { passed=$((passed + 1)); echo "good: $*"; }
bad() { echo "BAD: $*" >&2; exit 1; }

deb=${1:-}
if [[ -z $deb ]]; then
  for side in one two; do
    git clone -q . "$work/$side-src-$side$side"
    (cd "$work/$side-src-$side$side" && packaging/build.sh "$work/$side" >/dev/null)
  done
  cmp "$work/one/SHA256SUMS" "$work/two/SHA256SUMS" || bad "two builds differ"
  good "two clones give the same $(wc -l <"$work/one/SHA256SUMS") files"
  deb=$(ls "$work"/one/*_amd64.deb)
fi

[[ -d $root/usr ]] || mmdebstrap --quiet --variant=minbase --include=systemd,ca-certificates bookworm "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys" && mount --make-rslave "$root/sys"
cp "$deb" "$root/var/tmp/redoubt.deb"
inside() { chroot "$root" "$@"; }

said=$(inside dpkg -i /var/tmp/redoubt.deb)
[[ $said == *"not started"* ]] || bad "the installation says nothing of a start: $said"
inside dpkg -i /var/tmp/redoubt.deb >/dev/null || bad "a second installation"
[[ ! -e $root/etc/systemd/system/multi-user.target.wants/redoubt.service ]] || bad "it was enabled"
good "installed, twice; neither started nor enabled"

while read -r mode owner path; do
  seen=$(inside stat -c '%a %U:%G' "$path") || bad "$path is not there"
  [[ $seen == "$mode $owner" ]] || bad "$path is $seen, and has to be $mode $owner"
done <<'FILES'
755 root:root /usr/bin/redoubt
750 root:redoubt /etc/redoubt
640 root:redoubt /etc/redoubt/redoubt.yaml
700 redoubt:redoubt /var/lib/redoubt
644 root:root /usr/lib/systemd/system/redoubt.service
644 root:root /usr/lib/sysusers.d/redoubt.conf
644 root:root /usr/lib/tmpfiles.d/redoubt.conf
644 root:root /usr/share/redoubt/60-redoubt.conf
644 root:root /usr/share/redoubt/nftables.conf
644 root:root /usr/share/bash-completion/completions/redoubt
FILES
[[ ! -e $root/etc/sysctl.d/60-redoubt.conf ]] || bad "settings of the kernel were put in force"
[[ $(inside getent passwd redoubt) == *:/usr/sbin/nologin ]] || bad "the user has a shell"
good "files, modes and owners"

faults=$(systemd-analyze --root="$root" --man=no verify redoubt.service 2>&1) || bad "systemd-analyze verify: $faults"
[[ -z $faults ]] || bad "systemd-analyze verify: $faults"
line=$(systemd-analyze security --offline=true --threshold=15 --root="$root" --no-pager redoubt.service | tail -1) || bad "exposure: $line"
good "unit: ${line#* }"

# By hand as nearly as the unit has it: its user, no rights, its limits.
most=$(ulimit -Hn) # the unit has 1048576; more than there is cannot be given here
prlimit --nofile="$most:$most" --core=0:0 unshare --net bash -c '
  ip link set lo up 2>/dev/null || true
  exec chroot --userspec=redoubt:redoubt "$0" setpriv --no-new-privs --bounding-set=-all --inh-caps=-all /usr/bin/redoubt serve' "$root" >"$work/out" 2>"$work/err" &
broker=$!
for _ in $(seq 300); do
  if inside redoubt status --ready 2>/dev/null; then break; fi
  kill -0 "$broker" 2>/dev/null || bad "the broker ended: $(cat "$work/out" "$work/err")"
  sleep 0.1
done
inside redoubt status --ready || bad "not ready"
good "the broker is ready as its user, and redoubt status --ready says so"
nsenter --target "$broker" --net chroot "$root" redoubt doctor >"$work/doctor" 2>&1 || true
cat "$work/doctor"
# What is not to be had without systemd running, in a network namespace, and on a host whose
# clock is its own affair. Every other row has to be a success or not applicable.
unseen='P1\.3b|P1\.10|P1\.11'
left=$(grep -E '\[(failure|warning|unknown)\]' "$work/doctor" | grep -vE "^($unseen) " || true)
[[ -z $left && $(grep -c '\[success\]' "$work/doctor") -ge 15 ]] || bad "redoubt doctor: $left"
good "redoubt doctor: $(grep '^score' "$work/doctor")"
kill "$broker" && wait "$broker" || bad "it did not end well"
broker=

inside dpkg -r redoubt >/dev/null
[[ -d $root/var/lib/redoubt/certs ]] || bad "removal took the data"
said=$(inside dpkg --purge redoubt 2>&1)
[[ $said == *"stays in /var/lib/redoubt"* && -d $root/var/lib/redoubt/certs ]] || bad "purge: $said"
good "purge leaves the data and says where it is"
echo "$passed passed, 0 failed"
