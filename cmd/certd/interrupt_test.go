package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"certd/acme/acmetest"
)

// TestInterrupted: Ctrl-C is one sentence, not one error for each target.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	for _, format := range []string{"text", "json"} {
		dir, hooks := t.TempDir(), t.TempDir()
		for _, sub := range []string{"/conf", "/desired"} {
			if err := os.Mkdir(dir+sub, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		settings := fmt.Sprintf("cas: [{name: testca, directory: %q}]\n", ca.URL())
		if err := os.WriteFile(dir+"/conf/certd.yaml", []byte(settings), 0o644); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if err := os.WriteFile(fmt.Sprintf("%s/desired/host%d.example.test", dir, i), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var out, errs strings.Builder
		code := run(ctx, []string{"--state", dir, "--hooks", hooks, "reconcile", "-o", format},
			streams{in: strings.NewReader(""), out: &out, err: &errs})
		if code != exitFailed || strings.Count(errs.String(), "interrupted; the next reconcile goes on") != 1 {
			t.Errorf("%s: exit %d, want %d and one sentence: %s", format, code, exitFailed, errs.String())
		}
		said := errs.String()
		if format == "text" {
			said += out.String()
		}
		if strings.Contains(said, "canceled") {
			t.Errorf("%s: a wall of errors: %s", format, said)
		}
	}
}
