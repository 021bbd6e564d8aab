package challengetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// withoutLeak runs f and returns the stacks of goroutines that f started and
// that do not end. Goroutines inherit the label of their parent, so tests that
// run at the same time do not count.
func withoutLeak(t *testing.T, f func()) string {
	t.Helper()
	mark := rand.Text()
	pprof.Do(context.Background(), pprof.Labels("challengetest", mark), func(context.Context) { f() })
	for end := time.Now().Add(deadline); ; time.Sleep(5 * time.Millisecond) {
		stacks, err := labelled(mark)
		if err != nil {
			t.Errorf("list goroutines: %v", err)
			return ""
		}
		if stacks == "" || time.Now().After(end) {
			return stacks
		}
	}
}

// labelled returns the stacks of the goroutines with this mark.
func labelled(mark string) (string, error) {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return "", fmt.Errorf("write goroutine profile: %w", err)
	}
	var found []string
	for stack := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(stack, mark) {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n"), nil
}
