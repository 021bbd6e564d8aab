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
// that do not end.
func withoutLeak(t *testing.T, f func()) string {
	t.Helper()
	var mark string
	marked(func(m string) {
		mark = m
		f()
	})
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

// marked runs f under a new profiler label. Goroutines inherit it from their
// parent, so tests that run at the same time are not mistaken for leaks.
func marked(f func(mark string)) {
	mark := rand.Text()
	pprof.Do(context.Background(), pprof.Labels("challengetest", mark), func(context.Context) { f(mark) })
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
