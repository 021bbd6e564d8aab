#!/bin/sh
# Builds bin/certd: static, reproducible, with its version; and bin/certd-dns,
# which takes minutes the first time. DNS=0 leaves that out.
set -eu
cd "$(dirname "$0")/.."
: "${GO:=go}" "${DNS:=1}"

version=$(git describe --tags --always --dirty 2>/dev/null) || version=dev
CGO_ENABLED=0 "$GO" build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${version:-dev}" -o bin/certd ./cmd/certd
echo "bin/certd ${version:-dev}"
if [ "$DNS" != 0 ]; then
	[ -e bin/certd-dns ] || echo "bin/certd-dns: all of lego's DNS providers, the first time this takes minutes"
	build/dns.sh bin/certd-dns "${version:-dev}"
	echo "bin/certd-dns ${version:-dev}"
fi
