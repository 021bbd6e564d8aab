#!/bin/sh
# Each fuzz target for FUZZTIME, four at a time. An input that fails is written
# to the package's testdata/fuzz by the go command: commit it with the mend.
set -u
cd "$(dirname "$0")/.."
: "${GO:=go}" "${FUZZTIME:=30s}" "${FUZZJOBS:=4}"
export GO FUZZTIME

# count PASSED FAILED SKIPPED: for test.sh, which adds up.
count() { [ -z "${RESULTS-}" ] || echo "$@" >>"$RESULTS"; }

# `fuzz.sh one PACKAGE TARGET` runs one target; xargs calls it.
if [ "${1-}" = one ]; then
	log=$(mktemp)
	for try in 1 2; do
		"$GO" test -run '^$' -fuzz "^$3\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10s -parallel 1 "$2" >"$log" 2>&1
		status=$?
		# The go command now and then reports the end of its own fuzzing time
		# as a failure (golang.org/issue/75804); a finding names its input.
		if [ $status = 0 ] || ! grep -q 'context deadline exceeded' "$log" || grep -q 'Failing input' "$log"; then
			break
		fi
	done
	if [ $status = 0 ]; then
		echo "ok    fuzz $2 $3"
		count 1 0 0
	else
		cat "$log"
		echo "FAIL  fuzz $2 $3"
		count 0 1 0
	fi
	rm -f "$log"
	exit $status
fi

# `go test -list` prints the targets of a package, then its closing line.
list=$("$GO" test -list '^Fuzz' -vet=off "${@:-./...}") || {
	echo "$list"
	count 0 1 0
	exit 1
}
echo "$list" |
	awk '/^Fuzz/ { name[n++] = $1 } /^ok/ { for (i = 0; i < n; i++) print $2, name[i]; n = 0 }' |
	xargs -r -n 2 -P "$FUZZJOBS" build/fuzz.sh one
