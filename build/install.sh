#!/bin/sh
# Installs certd and what comes beside it below $DESTDIR$PREFIX: the programs, man
# pages, completions, units, the user and directories systemd shall make, and
# below /usr the bundled hooks. Enables and starts nothing.
set -eu
cd "$(dirname "$0")/.."
: "${GO:=go}" "${DNS:=1}" "${DESTDIR=}" "${PREFIX:=/usr/local}" "${VERSION=}"
umask 022

case $PREFIX in
/*) ;;
*)
	echo "PREFIX=$PREFIX: want a full path" >&2
	exit 1
	;;
esac
[ -n "$VERSION" ] || VERSION=$(git describe --tags --always --dirty 2>/dev/null) || VERSION=dev

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=0 "$GO" build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o "$work/certd" ./cmd/certd
[ "$DNS" = 0 ] || build/dns.sh "$work/certd-dns" "$VERSION"
# This one runs here, whatever machine certd is for.
env -u GOOS -u GOARCH -u GOARM -u CERTD_STATE_DIR -u ACME_STATE_DIR CGO_ENABLED=0 \
	"$GO" run -buildvcs=false -tags ship -ldflags "-X main.version=$VERSION" ./cmd/certd "$PREFIX" >"$work/files.tar"

install -d "$DESTDIR$PREFIX/bin"
install -m 0755 "$work/certd" "$DESTDIR$PREFIX/bin/certd"
[ "$DNS" = 0 ] || install -m 0755 "$work/certd-dns" "$DESTDIR$PREFIX/bin/certd-dns"
tar -C "$DESTDIR/" --no-same-owner -xpf "$work/files.tar"
echo "$DESTDIR$PREFIX/bin/certd $VERSION"
