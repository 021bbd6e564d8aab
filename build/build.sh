#!/bin/sh
# Builds bin/certd: static, reproducible, with its version.
set -eu
cd "$(dirname "$0")/.."
: "${GO:=go}"

version=$(git describe --tags --always --dirty 2>/dev/null) || version=dev
CGO_ENABLED=0 "$GO" build -trimpath -buildvcs=false -ldflags "-X main.version=${version:-dev}" -o bin/certd ./cmd/certd
echo "bin/certd ${version:-dev}"
