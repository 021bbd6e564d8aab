#!/bin/sh
# Every test, or those of the packages named, under the race detector.
# CERTD_TEST_REQUIRE=1 makes a test whose server is not installed fail instead
# of skip.
# -count=1: test/e2e builds certd itself, which the test cache does not see.
set -u
cd "$(dirname "$0")/.."
: "${GO:=go}"
export CERTD_TEST_REQUIRE="${CERTD_TEST_REQUIRE-1}"

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
"$GO" -C tools build -o "$bin/testsum" ./testsum || {
	[ -z "${RESULTS-}" ] || echo "0 1 0" >>"$RESULTS"
	exit 1
}
{
	CGO_ENABLED=1 "$GO" test -race -count=1 -json -timeout 12m "${@:-./...}" 2>&1
	"$GO" -C tools test -json ./... 2>&1
	CGO_ENABLED=0 "$GO" -C cmd/certd-dns test -trimpath -vet=off -json ./... 2>&1
} | "$bin/testsum" ${RESULTS:+-record "$RESULTS"}
