#!/bin/sh
# What the broker has kept for its clients is not the package's to delete.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "$1" = purge ] || [ "$1" = 0 ]; then
	echo "redoubt is removed. Its data, with messages, users and private keys, stays in /var/lib/redoubt, and the user redoubt that owns it."
	echo "When nobody needs it any more: rm -r /var/lib/redoubt /etc/redoubt; userdel redoubt"
fi
