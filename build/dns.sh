#!/bin/sh
# Builds cmd/certd-dns, the module with all of lego's DNS providers, to the path
# given: static, reproducible, with its version. From nothing it takes minutes and
# about 1 GB of build cache; nothing is compiled again as long as lego stays.
set -eu
cd "$(dirname "$0")/.."
: "${GO:=go}"

out=$1
case $out in
/*) ;;
*) out=$PWD/$out ;;
esac
version=${2-$(git describe --tags --always --dirty 2>/dev/null)} || version=dev
# One set of flags everywhere, so that tests and builds share the cache.
CGO_ENABLED=0 "$GO" -C cmd/certd-dns build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${version:-dev}" -o "$out" .
