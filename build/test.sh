#!/bin/sh
# All of it, in the order of what is quickest to tell. Every part runs, also
# after a failure; the last line is the sum.
set -u
cd "$(dirname "$0")/.."

build/packages.sh || exit 1

RESULTS=$(mktemp)
export RESULTS
trap 'rm -f "$RESULTS"' EXIT
failed=0
for part in check gotest deb-test fuzz; do
	echo "== $part"
	"build/$part.sh" || failed=1
done
echo
awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed", p, f; if (s) printf ", %d skipped", s; print "" }' "$RESULTS"
exit $failed
