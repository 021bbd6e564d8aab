#!/bin/sh
# Installs what the tests need and this machine lacks: real servers to talk to,
# and a C compiler for the race detector. Debian and Ubuntu, as root; elsewhere
# it says what to install. Nothing it installs is left running.
# With the argument "bench" it installs what make bench compares certd with instead.
set -eu

missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }

PATH=$PATH:/usr/sbin:/sbin
if [ "${1-}" = bench ]; then
	need acmetool acmetool
	need certbot certbot
	need lego lego
	need dehydrated dehydrated
	need uacme uacme
	need curl curl
	need openssl openssl
	need /usr/bin/time time
	need() { :; }
fi
need nginx nginx-light
[ "${1-}" = bench ] || [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"
need wrk wrk
need haproxy haproxy
need apachectl apache2
need caddy caddy
need acmetool acmetool
need pgrep procps
need tmux tmux
need named bind9
need nsupdate bind9-dnsutils
need openssl openssl
need shellcheck shellcheck
need groff groff-base
need systemd-analyze systemd
need systemd-socket-activate systemd
need setpriv util-linux
need strace strace
need prometheus prometheus
need prometheus-node-exporter prometheus-node-exporter
need nagios4 nagios4-core
need nrpe nagios-nrpe-server
need /usr/lib/nagios/plugins/check_nrpe nagios-nrpe-plugin
need gcc "gcc libc6-dev"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "missing (Debian's package names):$missing" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "missing; run as root: apt-get install$missing" >&2
	exit 1
fi

# A policy-rc.d that says no keeps the packages from starting their services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
install() {
	# shellcheck disable=SC2086 # a list of names
	apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 $missing </dev/null
}
log=$(mktemp)
if ! install >"$log" 2>&1; then
	apt-get update -qq >>"$log" 2>&1 || true
	if ! install >>"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		echo "could not install:$missing" >&2
		exit 1
	fi
fi
rm -f "$log"

# Nor shall they start at the next boot: they are here for the tests alone.
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
	for service in nginx haproxy apache2 caddy prometheus prometheus-node-exporter nagios4 nagios-nrpe-server bind9 certbot; do
		unit=$service
		case $service in bind9) unit=named ;; certbot) unit=certbot.timer ;; esac
		case " $missing " in
		*" $service"*) systemctl disable --quiet "$unit" 2>/dev/null || true ;;
		esac
	done
fi
