package challenge_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"certd/challenge"
	"certd/challenge/challengetest"

	"golang.org/x/sys/unix"
)

func TestWebrootFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := &challenge.Webroot{Dirs: []string{dir}}
	id, ch := challengetest.New("www.example.com")
	if err := w.Present(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, ch.Token))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o644 {
		t.Errorf("the challenge file has the mode %v, want 0644", info.Mode())
	}
	if names := entries(t, dir); len(names) != 1 {
		t.Errorf("the webroot has %v, want the challenge file only", names)
	}
}

// A process that is killed while it writes leaves a file under another name.
func TestWebrootUnfinishedFilesAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id, ch := challengetest.New("www.example.com")
	_, other := challengetest.New("www.example.com")
	for _, name := range []string{".certd-" + ch.Token + "-X", ".certd-" + other.Token + "-X"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := (&challenge.Webroot{Dirs: []string{dir}}).CleanUp(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	if names := entries(t, dir); len(names) != 1 || filepath.Base(names[0]) != ".certd-"+other.Token+"-X" {
		t.Errorf("the webroot has %v, want the other challenge's file only", names)
	}
}

// The umask belongs to the process, so this test does not run beside others.
func TestWebrootWhateverTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o077, 0o777} {
		base := t.TempDir()
		dir := filepath.Join(base, "new")
		id, ch := challengetest.New("www.example.com")
		old := unix.Umask(mask)
		err := (&challenge.Webroot{Dirs: []string{dir}}).Present(t.Context(), id, ch)
		unix.Umask(old)
		if err != nil {
			t.Errorf("umask %04o: %v", mask, err)
			continue
		}
		for path, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o755, filepath.Join(dir, ch.Token): 0o644} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("umask %04o: %s has %v, want mode %v", mask, path, info, want)
			}
		}
	}
}

// A link with the token's name is replaced, not followed.
func TestWebrootReplacesLinks(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"absolute", "relative", "dangling"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			dir, secret := filepath.Join(base, "www"), filepath.Join(base, "secret")
			id, ch := challengetest.New("www.example.com")
			link := filepath.Join(dir, ch.Token)
			must(t, os.Mkdir(dir, 0o755))
			must(t, os.WriteFile(secret, []byte("keep"), 0o600))
			must(t, os.Symlink(map[string]string{"absolute": secret, "relative": "../secret", "dangling": "../none"}[target], link))
			w := &challenge.Webroot{Dirs: []string{dir}}
			if err := w.Present(t.Context(), id, ch); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Lstat(link); err != nil || !info.Mode().IsRegular() {
				t.Errorf("the link became %v (%v), want a file", info, err)
			}
			if err := w.CleanUp(t.Context(), id, ch); err != nil {
				t.Error(err)
			}
			if data, err := os.ReadFile(secret); err != nil || string(data) != "keep" {
				t.Errorf("the file the link led to is now %q (%v)", data, err)
			}
			if _, err := os.Lstat(filepath.Join(base, "none")); err == nil {
				t.Error("the file the dangling link led to was made")
			}
		})
	}
}

// CleanUp removes the link itself, also one it did not make.
func TestWebrootCleanUpOfLink(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir, secret := filepath.Join(base, "www"), filepath.Join(base, "secret")
	id, ch := challengetest.New("www.example.com")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(secret, []byte("keep"), 0o600))
	must(t, os.Symlink(secret, filepath.Join(dir, ch.Token)))
	if err := (&challenge.Webroot{Dirs: []string{dir}}).CleanUp(t.Context(), id, ch); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(secret); err != nil {
		t.Errorf("what the link led to: %v", err)
	}
}

func TestWebrootIsCreated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dir, want string }{
		{"new", ""},
		{"new/", ""},
		{".well-known/acme-challenge", ""},
		{"x/y", "x does not exist; create it, or correct request.challenge.webroot-paths"},
		{"x/.well-known/acme-challenge", "x does not exist"},
		{"file", "open directory: not a directory"},
		{"file/new", "open directory: not a directory"},
	} {
		t.Run(c.dir, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			must(t, os.WriteFile(filepath.Join(base, "file"), nil, 0o644))
			dir := base + "/" + c.dir
			id, ch := challengetest.New("www.example.com")
			w := &challenge.Webroot{Dirs: []string{dir}}
			err := w.Present(t.Context(), id, ch)
			if c.want == "" {
				if _, statErr := os.Stat(filepath.Join(dir, ch.Token)); err != nil || statErr != nil {
					t.Errorf("Present in a missing directory: %v; its file: %v", err, statErr)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got the error %v, want one that names %s and says %q", err, dir, c.want)
			}
			if err := w.CleanUp(t.Context(), id, ch); err != nil {
				t.Errorf("CleanUp: %v", err)
			}
		})
	}
}

func TestWebrootRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "www")
	w := &challenge.Webroot{Dirs: []string{dir}}
	id, ch := challengetest.New("www.example.com")
	if err := w.Present(t.Context(), id, ch); err != nil {
		t.Fatal(err)
	}
	must(t, os.RemoveAll(dir))
	if err := w.CleanUp(t.Context(), id, ch); err != nil {
		t.Errorf("CleanUp in a directory that is gone: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("CleanUp made the directory again")
	}
}

func TestWebrootReadOnly(t *testing.T) {
	t.Parallel()
	dir := "/proc/sys/net" // writable by nobody, root included
	if os.Getuid() != 0 {
		dir = t.TempDir()
		must(t, os.Chmod(dir, 0o555))
	}
	id, ch := challengetest.New("www.example.com")
	w := &challenge.Webroot{Dirs: []string{dir}}
	err := w.Present(t.Context(), id, ch)
	if err == nil || !strings.Contains(err.Error(), "webroot "+dir+": write challenge file") {
		t.Errorf("Present in a read-only directory: got the error %v", err)
	}
	if err != nil && strings.Contains(err.Error(), ch.Token) {
		t.Errorf("the error names the token: %v", err)
	}
	if err := w.CleanUp(t.Context(), id, ch); err != nil {
		t.Errorf("CleanUp after Present failed: %v", err)
	}
	writable := t.TempDir()
	both := &challenge.Webroot{Dirs: []string{dir, writable}}
	if err := both.Present(t.Context(), id, ch); err != nil {
		t.Errorf("Present where one of two directories is writable: %v", err)
	}
}

// What fails half way leaves nothing behind.
func TestWebrootFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id, ch := challengetest.New("www.example.com")
	must(t, os.Mkdir(filepath.Join(dir, ch.Token), 0o755))
	w := &challenge.Webroot{Dirs: []string{dir}}
	if err := w.Present(t.Context(), id, ch); err == nil {
		t.Error("Present over a directory with the token's name: got no error")
	}
	if names := entries(t, dir); len(names) != 1 {
		t.Errorf("the webroot has %v, want only what was there before", names)
	}
}

// Whoever reads the file sees nothing or all of it.
func TestWebrootNeverPartial(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := &challenge.Webroot{Dirs: []string{dir}}
	id, ch := challengetest.New("www.example.com")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			data, err := os.ReadFile(filepath.Join(dir, ch.Token))
			if err == nil && string(data) != ch.KeyAuthorization {
				t.Errorf("a reader saw %q", data)
			}
		}
	})
	for range 200 {
		if err := w.Present(t.Context(), id, ch); err != nil {
			t.Error(err)
		}
		if err := w.CleanUp(t.Context(), id, ch); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
