#!/usr/bin/env bash
# Installs the clients that the suites in test/ run against the broker:
# mosquitto_pub and mosquitto_sub, paho for Debian's Python, MQTT.js, the modules of
# paho for Go, the Mosquitto broker that Redoubt is compared with, what tries the
# TLS of a broker from outside: openssl, curl and sslscan, pebble, an ACME server, and
# HAProxy, which stands in front of one; PostgreSQL, MariaDB, Redis and slapd, where
# clients are looked up; a KDC of Kerberos with a client of GSSAPI; xmllint, which
# holds reports to their schema; and nft and ip, for rules and settings in a network
# namespace of the test's own.
# Packages need root; as anybody else it only looks, and says the one command.
set -euo pipefail
cd "$(dirname "$0")"

# Compilers, linkers and data directories: 3 GB at most. Without them tests fail one by one, of something else.
room() { df --output=avail -k "$1" 2>/dev/null | tail -1; }
temporary=${TMPDIR:-/tmp}
if [[ $(room "$temporary") =~ ^[0-9]+$ ]] && (($(room "$temporary") < 3000000)); then
  echo "the tests need 3 GB in $temporary, and $(($(room "$temporary") / 1000)) MB are free: make room, or set TMPDIR to another folder"
  exit 1
fi

missing=()
command -v mosquitto_pub >/dev/null && command -v mosquitto_sub >/dev/null || missing+=(mosquitto-clients)
[[ -x /usr/sbin/mosquitto ]] && command -v mosquitto_passwd >/dev/null || missing+=(mosquitto)
/usr/bin/python3 -c 'import paho.mqtt.client' 2>/dev/null || missing+=(python3 python3-paho-mqtt)
command -v openssl >/dev/null || missing+=(openssl)
command -v sslscan >/dev/null || missing+=(sslscan)
command -v pebble >/dev/null && command -v pebble-challtestsrv >/dev/null || missing+=(pebble)
[[ -x /usr/sbin/haproxy ]] || missing+=(haproxy)
[[ -x /usr/local/bin/initdb ]] || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
[[ -x /usr/sbin/mariadbd ]] || missing+=(mariadb-server)
[[ -x /usr/sbin/slapd ]] || missing+=(slapd)
command -v ldapmodify >/dev/null || missing+=(ldap-utils)
command -v redis-server >/dev/null && command -v redis-cli >/dev/null || missing+=(redis-server)
[[ -x /usr/sbin/krb5kdc ]] || missing+=(krb5-kdc)
[[ -x /usr/sbin/kadmin.local ]] || missing+=(krb5-admin-server)
[[ -x /usr/bin/kinit ]] || missing+=(krb5-user)
/usr/bin/python3 -c 'import gssapi' 2>/dev/null || missing+=(python3-gssapi)
command -v xmllint >/dev/null || missing+=(libxml2-utils)
[[ -x /usr/sbin/nft ]] || missing+=(nftables)
command -v ip >/dev/null || [[ -x /usr/sbin/ip ]] || missing+=(iproute2)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v curl >/dev/null || missing+=(curl)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)

if ((${#missing[@]})); then
  if (($(id -u) != 0)); then
    echo "the tests need ${missing[*]}; install them with: sudo make deps"
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  # Most of these packages start a service; the tests start their own
  # and want none. Whoever had one keeps it: then nothing is missing here.
  for service in mosquitto haproxy postgresql mariadb redis-server slapd krb5-kdc krb5-admin-server nftables; do
    if [[ " ${missing[*]} " == *" $service"[\ -]* && -d /run/systemd/system ]]; then
      systemctl mask --quiet "$service.service"
    fi
  done
  apt-get install -y --no-install-recommends "${missing[@]}" ||
    { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; }
fi

# The stamp is the lock file that node_modules was made from.
if ! cmp -s package-lock.json node_modules/.made-from; then
  npm ci --no-audit --no-fund --loglevel=error
  cp package-lock.json node_modules/.made-from
fi

# The Go clients are a module of their own, so that the broker depends on neither.
(cd pahogo && go mod download)
