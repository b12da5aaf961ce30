#!/bin/sh
# Stops the broker when it is removed, not when a new version takes its place.
set -e
if [ "$1" = remove ] || [ "$1" = 0 ]; then
	if [ -d /run/systemd/system ]; then
		systemctl disable --now redoubt.service
	fi
fi
