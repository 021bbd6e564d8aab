package doctor

import (
	"strings"
	"testing"
)

func TestJudgeRoom(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, tt := range []struct {
		name              string
		bytes, files, all uint64
		readOnly          bool
		want              Result
		says              string
	}{
		{"plenty", 100 * mib, 10000, 20000, false, OK, ""},
		{"a file system that counts no files", 100 * mib, 0, 0, false, OK, ""},
		{"little", 2 * mib, 10000, 20000, false, Warning, "2048 KiB"},
		{"full", 0, 10000, 20000, false, Failure, "0 KiB"},
		{"few files", 100 * mib, 100, 20000, false, Warning, "100 files"},
		{"no files", 100 * mib, 0, 20000, false, Failure, "0 files"},
		{"read-only", 100 * mib, 10000, 20000, true, Failure, "read-only"},
	} {
		result, detail, remedy := judgeRoom("/var/lib/acme", tt.bytes, tt.files, tt.all, tt.readOnly)
		if result != tt.want || !strings.Contains(detail, tt.says) || (result != OK) != (remedy != "") {
			t.Errorf("%s: %v, %q, %q; want %v and %q", tt.name, result, detail, remedy, tt.want, tt.says)
		}
	}
}
