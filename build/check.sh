#!/bin/sh
# The checks that need no test run. All of them run, also after a failure.
set -u
cd "$(dirname "$0")/.."
: "${GO:=go}"
failed=0

# count PASSED FAILED SKIPPED: for test.sh, which adds up.
count() { [ -z "${RESULTS-}" ] || echo "$@" >>"$RESULTS"; }

# result NAME STATUS: one line, and one count.
result() {
	if [ "$2" = 0 ]; then
		echo "ok    $1"
		count 1 0 0
	else
		echo "FAIL  $1"
		count 0 1 0
		failed=1
	fi
}

# check NAME COMMAND...: the command must succeed and say nothing on stdout.
check() {
	name=$1
	shift
	said=$("$@") && [ -z "$said" ]
	status=$?
	[ -z "$said" ] || echo "$said"
	result "$name" $status
}

go_files() { git ls-files -z --cached --others --exclude-standard -- '*.go' | xargs -0 -r ls -d 2>/dev/null; }
unformatted() { go_files | xargs -r gofmt -l; }
scripts() { for f in .ci/run build/*.sh packaging/deb/p*; do bash -n "$f" || return 1; done; }

# vulnerabilities looks the module's dependencies up in the Go vulnerability
# database. Where that cannot be reached there is nothing to say.
vulnerabilities() {
	log=$(mktemp)
	timeout 240 "$GO" tool -modfile=tools/go.mod govulncheck ./... >"$log" 2>&1
	status=$?
	if [ $status = 124 ] || grep -q 'fetching vulnerabilities' "$log"; then
		echo "skip  govulncheck: database not reachable, skipped"
		count 0 0 1
	else
		[ $status = 0 ] || cat "$log"
		result govulncheck $status
	fi
	rm -f "$log"
}

check "gofmt" unformatted
check "shell syntax" scripts
check "go vet" "$GO" vet ./...
check "go vet (tools)" "$GO" -C tools vet ./...
check "go vet (tools/deb)" "$GO" -C tools/deb vet ./...
check "go vet (certd-dns)" env CGO_ENABLED=0 "$GO" -C cmd/certd-dns vet -trimpath ./...
check "go vet (ship)" "$GO" vet -tags ship ./cmd/certd
check "go mod tidy" "$GO" mod tidy -diff
check "go mod tidy (tools)" "$GO" -C tools mod tidy -diff
check "go mod tidy (tools/deb)" "$GO" -C tools/deb mod tidy -diff
check "staticcheck" "$GO" tool -modfile=tools/go.mod staticcheck ./...
vulnerabilities
exit $failed
