package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"certd/config"
	"certd/daemon"
	"certd/state"
)

// TestExitCodeOfErrors: what an error means outweighs what it is wrapped in.
func TestExitCodeOfErrors(t *testing.T) {
	t.Parallel()
	denied := &fs.PathError{Op: "open", Path: "conf/certd.yaml", Err: fs.ErrPermission}
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"a mistake in conf/", &daemon.ConfigError{Err: errors.New("x")}, exitConfig},
		{"conf/certd.yaml may not be read", &daemon.ConfigError{Err: &config.Mistake{File: "conf/certd.yaml", Err: denied}}, exitPermission},
		{"the response file may not be read", &daemon.ConfigError{Err: fmt.Errorf("response file: %w", denied)}, exitPermission},
		{"a mistake in conf/perm", fmt.Errorf("open: %w", &state.PermError{Path: "conf/perm", Line: 1, Err: errors.New("x")}), exitConfig},
		{"an unsafe directory", &state.UnsafeError{Path: "/x"}, exitConfig},
		{"a held lock", fmt.Errorf("lock: %w", &state.LockedError{Path: "/x/lock"}), exitLocked},
		{"an unknown target", &daemon.UnknownTargetError{Arg: "x"}, exitUsage},
		{"a usage error", usage("x"), exitUsage},
		{"a denied write", fmt.Errorf("record: %w", denied), exitPermission},
		{"anything else", io.ErrUnexpectedEOF, exitFailed},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%s: exit %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestMistakeInPermIsConfiguration goes through the command.
func TestMistakeInPermIsConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/conf", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/conf/perm", []byte("certs what\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	code := run(t.Context(), []string{"--state", dir, "status"}, streams{in: strings.NewReader(""), out: io.Discard, err: &errs})
	if code != exitConfig || !strings.Contains(errs.String(), "conf/perm:1") {
		t.Errorf("exit %d with %q, want %d and the line of conf/perm", code, errs.String(), exitConfig)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestWriteErrors: output that could not be written is a failure, in whatever
// way a command prints.
func TestWriteErrors(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"version", "--version", "version -o json", "status", "status -o json", "plan", "plan -o json", "reconcile", "reconcile -o json",
		"cull", "hooks list", "--help", "help want", "completion bash", "want --no-reconcile www.example.com",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if strings.HasPrefix(args, "want") { // a target that covers the name
				if err := os.Mkdir(dir+"/desired", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(dir+"/desired/www.example.com", nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var errs strings.Builder
			code := run(t.Context(), append([]string{"--state", dir, "--hooks", dir}, strings.Fields(args)...),
				streams{in: strings.NewReader(""), out: fullDisk{}, err: &errs})
			if code != exitFailed || !strings.Contains(errs.String(), "no space left") {
				t.Errorf("certd %s to a full disk: exit %d, %q; want %d and the reason", args, code, errs.String(), exitFailed)
			}
		})
	}
}
