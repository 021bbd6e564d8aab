#!/bin/sh
# Compares certd with other ACME clients and writes docs/benchmarks.md, or what
# BENCHFLAGS says: go run ./test/bench -h lists the flags. As root on Debian and
# Ubuntu it installs the others first.
set -eu
cd "$(dirname "$0")/.."
: "${GO:=go}"

build/packages.sh bench || echo "going on with the clients that are there" >&2
DNS=0 build/build.sh
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
"$GO" build -o "$bin/bench" ./test/bench
# shellcheck disable=SC2086 # a list of flags
"$bin/bench" -certd bin/certd -o docs/benchmarks.md ${BENCHFLAGS-}
