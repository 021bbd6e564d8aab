package hooks

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestDefaultDirs(t *testing.T) {
	t.Parallel()
	std := []string{"/etc/acme/hooks", "/usr/libexec/acme/hooks", "/usr/lib/acme/hooks"}
	for _, tt := range []struct {
		env  string
		want []string
	}{
		{"", std},
		{":", std},
		{"/a", []string{"/a"}},
		{"/a::/b:", []string{"/a", "/b"}},
	} {
		if got := DefaultDirs(tt.env); !slices.Equal(got, tt.want) {
			t.Errorf("ACME_HOOKS_DIR=%q: got %q, want %q", tt.env, got, tt.want)
		}
	}
}

// A listing is a directory that was read.
type listing struct {
	names []string
	err   error
}

func (l listing) Readdirnames(int) ([]string, error) { return l.names, l.err }

// A directory that can't be read is not an empty one.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		dir  listing
		want string
		err  error
	}{
		{listing{[]string{"b", "a"}, nil}, "a b", nil},
		{listing{nil, io.EOF}, "", nil},
		{listing{nil, syscall.EIO}, "", syscall.EIO},
		{listing{[]string{"a"}, syscall.EIO}, "", syscall.EIO},
	} {
		got, err := names(tt.dir)
		if strings.Join(got, " ") != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%v: got %q, %v; want %q, %v", tt.dir, got, err, tt.want, tt.err)
		}
	}
}

// paths lists the base names of what List finds.
func paths(t *testing.T, dirs ...string) []string {
	t.Helper()
	list, err := (&Runner{Dirs: dirs}).List()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range list {
		name := filepath.Base(h.Path)
		if h.Refused != "" {
			name += " refused"
		}
		names = append(names, name)
	}
	return names
}

func TestListTakesExecutablesInOrder(t *testing.T) {
	t.Parallel()
	first, second := hookDir(t), hookDir(t)
	for _, name := range []string{"reload", "haproxy", "10-first", "Zoo", ".hidden", "reload~", "reload.dpkg-old", "reload.rpmsave"} {
		script(t, filepath.Join(first, name), "exit 0\n")
	}
	script(t, filepath.Join(second, "another"), "exit 0\n")
	hook(t, filepath.Join(first, "reload.conf"), "SERVICES=nginx\n", 0o644)
	hook(t, filepath.Join(first, "turned-off"), "", 0o755)
	mkdir(t, filepath.Join(first, "directory"), 0o755)
	if err := os.Symlink(filepath.Join(second, "another"), filepath.Join(first, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(first, "dangling")); err != nil {
		t.Fatal(err)
	}
	got := paths(t, first, "/does/not/exist", second)
	want := []string{"10-first", "Zoo", "dangling refused", "haproxy", "link", "reload", "another"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBundledHookGivesWayToItsName(t *testing.T) {
	t.Parallel()
	const bundled = "# " + marker + "\nexit 0\n"
	for _, tt := range []struct {
		name string
		fill func(etc, lib string)
		want []string
	}{
		{"a package's hooks run", func(_, _ string) {}, []string{"haproxy", "other", "reload"}},
		{"a copy runs once", func(etc, _ string) { script(t, filepath.Join(etc, "reload"), bundled) }, []string{"reload", "haproxy", "other"}},
		{"an empty file turns it off", func(etc, _ string) { hook(t, filepath.Join(etc, "reload"), "", 0o644) }, []string{"haproxy", "other"}},
		{"other names run in both", func(etc, _ string) { script(t, filepath.Join(etc, "other"), bundled) }, []string{"other", "haproxy", "other", "reload"}},
		{"without the marker it runs too", func(etc, lib string) {
			script(t, filepath.Join(etc, "reload"), "exit 0\n")
			script(t, filepath.Join(lib, "reload"), "exit 0\n")
		}, []string{"reload", "haproxy", "other", "reload"}},
		{"what an editor left hides nothing", func(etc, _ string) { hook(t, filepath.Join(etc, "reload~"), "", 0o644) }, []string{"haproxy", "other", "reload"}},
	} {
		etc, lib := hookDir(t), hookDir(t)
		for _, name := range []string{"haproxy", "other", "reload"} {
			script(t, filepath.Join(lib, name), bundled)
		}
		tt.fill(etc, lib)
		if got := paths(t, etc, lib); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestDirectoryNamedTwiceRunsOnce(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "a"), "exit 0\n")
	link := filepath.Join(hookDir(t), "hooks")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if got := paths(t, dir, dir+"/", link); !slices.Equal(got, []string{"a"}) {
		t.Errorf("got %q, want the hook once", got)
	}
}

func TestListRefusesTooManyFiles(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	for i := range maxEntries + 1 {
		hook(t, filepath.Join(dir, strings.Repeat("x", 1+i%50)+string(rune('a'+i/50%26))), "x", 0o644)
	}
	for i := range maxEntries + 1 {
		hook(t, filepath.Join(dir, "f"+strings.Repeat("0", i%100)+string(rune('a'+i/100))), "x", 0o644)
	}
	if _, err := (&Runner{Dirs: []string{dir}}).List(); err == nil || !strings.Contains(err.Error(), "more than 1000 files") {
		t.Errorf("a directory of 2000 files: got %v, want it refused", err)
	}
}

func TestListKnowsManagedHooks(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "a"), marker+"\n")
	script(t, filepath.Join(dir, "b"), "##!acmetool-managed!##\n")
	script(t, filepath.Join(dir, "c"), strings.Repeat("#", markerWithin)+marker+"\n")
	list, err := (&Runner{Dirs: []string{dir}}).List()
	if err != nil || len(list) != 3 {
		t.Fatalf("got %v, %v", list, err)
	}
	for i, want := range []bool{true, true, false} {
		if list[i].Managed != want {
			t.Errorf("%s: managed is %v, want %v", list[i].Path, list[i].Managed, want)
		}
	}
}

func TestRunGoesOnAfterFailure(t *testing.T) {
	t.Parallel()
	dir, log := hookDir(t), filepath.Join(t.TempDir(), "log")
	for _, name := range []string{"a", "b", "c", "d"} {
		script(t, filepath.Join(dir, name), "echo "+name+" >>"+log+"\n[ "+name+" != b ]\n")
	}
	r := &Runner{Dirs: []string{dir}}
	skip := func(path string) bool { return filepath.Base(path) == "c" }
	results, err := r.Run(t.Context(), Event{Name: "live-updated"}, skip)
	if err != nil {
		t.Fatal(err)
	}
	var got []Outcome
	for _, res := range results {
		got = append(got, res.Outcome)
	}
	if !slices.Equal(got, []Outcome{OK, Failed, OK}) {
		t.Errorf("outcomes are %q, want ok, error, ok: b fails and c was to be skipped", got)
	}
	if order := read(t, log); order != "a\nb\nd\n" {
		t.Errorf("ran %q, want a, b, d in this order", order)
	}
}

func TestRunReportsRefusedHookAndDirectory(t *testing.T) {
	t.Parallel()
	good, bad, other := hookDir(t), hookDir(t), hookDir(t)
	hook(t, filepath.Join(good, "a"), "#!/bin/sh\ntouch "+good+"/ran\n", 0o777)
	script(t, filepath.Join(bad, "b"), "exit 0\n")
	script(t, filepath.Join(other, "c"), "exit 0\n")
	chmod(t, bad, 0o777)
	results, err := (&Runner{Dirs: []string{good, bad, other}}).Run(t.Context(), Event{Name: "failed"}, nil)
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Path != bad {
		t.Fatalf("error is %v, want the directory %s refused", err, bad)
	}
	contains(t, "the error", err.Error(), "hook directory "+bad, "drwxrwxrwx", "owner uid ", "chmod go-w "+bad)
	if len(results) != 2 || results[0].Outcome != Refused || results[1].Outcome != OK {
		t.Fatalf("results are %+v, want one refused and one ok", results)
	}
	if results[0].Code != -1 || exists(filepath.Join(good, "ran")) {
		t.Error("a refused hook was run")
	}
	contains(t, "the refusal", results[0].Err.Error(), filepath.Join(good, "a"), "-rwxrwxrwx", "chmod go-w")
}

func TestRunStopsBetweenHooks(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "a"), "exit 0\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results, err := (&Runner{Dirs: []string{dir}}).Run(ctx, Event{Name: "failed"}, nil)
	if len(results) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v; want nothing run and the cancellation", results, err)
	}
}

func TestFileInsteadOfDirectory(t *testing.T) {
	t.Parallel()
	file := script(t, filepath.Join(hookDir(t), "a"), "exit 0\n")
	_, err := (&Runner{Dirs: []string{file}}).List()
	if err == nil || !strings.Contains(err.Error(), "is no directory") {
		t.Errorf("got %v, want it to say that this is no directory", err)
	}
}

func TestZeroRunner(t *testing.T) {
	t.Parallel()
	results, err := new(Runner).Run(t.Context(), Event{Name: "live-updated"}, nil)
	if len(results) != 0 || err != nil {
		t.Errorf("got %v, %v; want nothing", results, err)
	}
}
