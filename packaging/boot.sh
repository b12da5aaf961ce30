#!/usr/bin/env bash
# Starts the systemd of a Debian root as process 1 of namespaces of its own, in the
# foreground: its network, its users' processes and its control groups are not the host's,
# and it cannot change a setting of the kernel but those of its network. Ending this program
# ends all of it. As root. Usage: packaging/boot.sh ROOT
set -euo pipefail
root=$(realpath "$1")
# A control group of its own in each hierarchy becomes the top of what systemd sees there.
for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
  if [[ ! -L $top && -w $top/cgroup.procs ]]; then
    mkdir -p "$top/redoubt-boot-$$" && echo $$ >"$top/redoubt-boot-$$/cgroup.procs" || true
  fi
done
exec unshare --pid --fork --mount --uts --ipc --net --cgroup --kill-child bash -euc '
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs sysfs "$root/sys"
groups=$root/sys/fs/cgroup
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
  mount -t cgroup2 cgroup2 "$groups"
else # the hierarchies of version 1, which take the names they have on this host
  mount -t tmpfs -o mode=755 tmpfs "$groups"
  mkdir "$groups/unified" "$groups/systemd"
  mount -t cgroup2 cgroup2 "$groups/unified"
  mount -t cgroup -o none,name=systemd cgroup "$groups/systemd"
  for one in cpu cpuacct memory pids devices freezer blkio; do
    mkdir "$groups/$one" && mount -t cgroup -o "$one" cgroup "$groups/$one"
  done
fi
mount -o remount,bind,ro "$root/sys"
for place in run tmp; do mount -t tmpfs tmpfs "$root/$place"; done
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
for one in null zero full random urandom tty; do touch "$root/dev/$one" && mount --bind "/dev/$one" "$root/dev/$one"; done
ip link set lo up
cd "$root"
mkdir -p .host
pivot_root . .host
umount -l /.host
rmdir /.host
exec env -i container=redoubt-test PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb /lib/systemd/systemd </dev/null
' boot "$root"
