#!/usr/bin/env bash
# What packaging/build.sh has made, looked at: the sums, that every package has the same files
# with the same modes, that each program is static and of its machine, the SBOM, the arm64
# program running (in an emulator where this machine is another), and the rpm installed, made
# newer and removed by rpm, in the root of a Debian. As root. Wants rpm, dpkg, binutils and
# qemu-user-static. Usage: packaging/contents.sh FOLDER ROOT
set -euo pipefail
made=$(realpath "$1") root=$(realpath "$2")
bad() { echo "BAD: $*" >&2; exit 1; }
work=$(mktemp -d)
broker=
finish() {
  if [[ -n $broker ]]; then kill -9 "$broker" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT

(cd "$made" && sha256sum --quiet -c SHA256SUMS) || bad "SHA256SUMS"
[[ $(ls "$made" | grep -vxF SHA256SUMS | sort) == "$(sed 's/^[0-9a-f]*  //' "$made/SHA256SUMS" | sort)" ]] || bad "SHA256SUMS has not every file"
listing() { awk '$1 !~ /^d/ {print $1, $2}' | sort -k2; }
for pair in amd64:x86_64:X86-64 arm64:aarch64:AArch64; do
  IFS=: read -r deb rpm machine <<<"$pair"
  dpkg-deb -c "$made"/redoubt_*_"$deb".deb | awk '{print $1, substr($6, 2)}' | listing >"$work/$deb.deb"
  rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' "$made"/redoubt-*."$rpm".rpm 2>/dev/null | listing >"$work/$deb.rpm"
  # Licences and completion for zsh have their own place in each.
  for kind in deb rpm; do grep -vE '/copyright$|/LICENSE$|/_redoubt$' "$work/$deb.$kind" >"$work/$deb.$kind.same"; done
  cmp "$work/$deb.deb.same" "$work/$deb.rpm.same" || bad "deb and rpm of $deb have other files: $(diff "$work/$deb.deb.same" "$work/$deb.rpm.same")"
  (($(wc -l <"$work/$deb.deb") >= 60)) || bad "the deb of $deb has few files: $(cat "$work/$deb.deb")"
  ! grep -vE '^-rw-r--r-- /usr/|^-rwxr-xr-x /usr/bin/redoubt$|^-rw-r----- /etc/redoubt/redoubt.yaml$' "$work/$deb.deb" || bad "modes in the deb of $deb"
  readelf -h "$made/redoubt-linux-$deb" | grep -q "Machine:.*$machine" || bad "redoubt-linux-$deb is of another machine"
  ! readelf -lW "$made/redoubt-linux-$deb" | grep -q INTERP || bad "redoubt-linux-$deb is not static"
  dpkg-deb --fsys-tarfile "$made"/redoubt_*_"$deb".deb | tar -xO ./usr/bin/redoubt | cmp - "$made/redoubt-linux-$deb" || bad "the deb of $deb has another program"
  sum=$(sha256sum "$made/redoubt-linux-$deb" | cut -d' ' -f1)
  grep -qF "\"content\": \"$sum\"" "$made/redoubt-linux-$deb.cdx.json" || bad "the SBOM of $deb is of another program"
done
mkdir "$work/doc"
dpkg-deb --fsys-tarfile "$made"/redoubt_*_amd64.deb | tar -x -C "$work/doc" ./usr/share/doc
while IFS=: read -r page link; do
  [[ -e ${page%/*}/$link ]] || bad "$page: a link to $link, which is not there"
done < <(grep -roE '\]\([^)#: ]+[)#]' "$work/doc" --include='*.md' | sed -E 's/\]\(//; s/[)#]$//')
cmp "$work/amd64.deb" "$work/arm64.deb" || bad "the packages of the two machines have other files"
echo "good: deb and rpm for two machines: the same $(wc -l <"$work/amd64.deb") files, static programs of their machine, pages whose links lead somewhere, sums and SBOM"

run=
if [[ $(uname -m) != aarch64 ]]; then run=qemu-aarch64-static; fi
[[ $($run "$made/redoubt-linux-arm64" version) == *linux/arm64* ]] || bad "the arm64 program does not run"
printf 'listeners:\n  mqtts: {bind: ["127.0.0.1:0"]}\n  wss: {bind: []}\nmetrics: {bind: []}\n' >"$work/redoubt.yaml"
mkdir -m 0700 "$work/data"
arm() { $run "$made/redoubt-linux-arm64" "$@" --config "$work/redoubt.yaml" --data-dir "$work/data"; }
arm serve --allow-root >"$work/serve" 2>&1 &
broker=$!
for _ in $(seq 120); do
  if arm status --ready 2>/dev/null; then break; fi
  sleep 0.5
done
port=$(sed -nE 's/^  mqtts +127\.0\.0\.1:([0-9]+).*/\1/p' "$work/serve")
openssl s_client -connect "127.0.0.1:$port" -CAfile "$work/data/certs/ca.pem" -verify_return_error </dev/null >"$work/tls" 2>&1 || bad "TLS of the arm64 program: $(cat "$work/serve" "$work/tls")"
pkill -TERM -P "$broker" 2>/dev/null || kill "$broker"
wait "$broker" || bad "the arm64 program did not end well: $(cat "$work/serve")"
broker=
echo "good: arm64: runs, serves TLS, ends"

package=$(ls "$made"/redoubt-*.x86_64.rpm)
tree=$work/tree
mkdir "$tree"
tar -C "$root" -c --one-file-system --exclude='./proc/*' --exclude='./sys/*' . | tar -x -C "$tree"
! grep -q '^redoubt:' "$tree/etc/passwd" || bad "the root has the user already"
manage() { rpm --root "$tree" "$@" 2>/dev/null; }
manage --initdb
[[ $(manage -i --nodeps "$package") == *"not started"* ]] || bad "rpm -i says nothing of a start"
while read -r mode owner path; do
  seen=$(chroot "$tree" stat -c '%a %U:%G' "$path") || bad "rpm: $path is not there"
  [[ $seen == "$mode $owner" ]] || bad "rpm: $path is $seen, and has to be $mode $owner"
done <<'FILES'
755 root:root /usr/bin/redoubt
750 root:redoubt /etc/redoubt
640 root:redoubt /etc/redoubt/redoubt.yaml
700 redoubt:redoubt /var/lib/redoubt
644 root:root /usr/lib/systemd/system/redoubt.service
644 root:root /usr/share/redoubt/60-redoubt.conf
FILES
echo "log: {level: warn}" >>"$tree/etc/redoubt/redoubt.yaml"
[[ -z $(manage -U --replacepkgs "$package") ]] && grep -q 'level: warn' "$tree/etc/redoubt/redoubt.yaml" || bad "rpm -U: it says what is for a first installation, or changed the configuration"
[[ $(manage -e redoubt) == *"stays in /var/lib/redoubt"* && -d $tree/var/lib/redoubt && ! -e $tree/usr/bin/redoubt && -e $tree/etc/redoubt/redoubt.yaml.rpmsave ]] || bad "rpm -e: $(ls -R "$tree/etc/redoubt")"
echo "good: rpm: installed, made newer, removed; the data and the changed configuration stay"
