#!/bin/sh
# Makes the user and the folders, and tells systemd of the unit. It starts nothing that
# did not run: who installs a broker decides first who may come in.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers redoubt.conf
elif ! getent passwd redoubt >/dev/null; then
	getent group redoubt >/dev/null || groupadd --system redoubt
	useradd --system --gid redoubt --home-dir /var/lib/redoubt --no-create-home --shell /usr/sbin/nologin redoubt
fi
# Without /proc, as in a root that is being put together, systemd-tmpfiles makes nothing.
if ! command -v systemd-tmpfiles >/dev/null || ! systemd-tmpfiles --create redoubt.conf 2>/dev/null; then
	install -d -o root -g redoubt -m 0750 /etc/redoubt
	install -d -o redoubt -g redoubt -m 0700 /var/lib/redoubt
fi
# Secrets may be in it: the broker reads it, nobody else.
if [ -e /etc/redoubt/redoubt.yaml ]; then
	chown root:redoubt /etc/redoubt/redoubt.yaml
	chmod 0640 /etc/redoubt/redoubt.yaml
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart redoubt.service || echo "redoubt did not start again: journalctl -u redoubt says why" >&2
fi
# deb: "configure" and the version before; rpm: how many are installed now.
if [ "$1" = 1 ] || { [ "$1" = configure ] && [ -z "$2" ]; }; then
	echo "redoubt is installed and not started. When its configuration (/etc/redoubt/redoubt.yaml) is as you want it:"
	echo "  systemctl enable --now redoubt"
	echo "/usr/share/doc/redoubt/ops/install.md says the rest, such as which settings of the kernel it likes."
fi
