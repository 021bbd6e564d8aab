package state

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testFolder(t *testing.T) (folder, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d, err := openFolder(root, ".")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d, dir
}

// TestFolderReads files of every size up to the limit whole, with the same buffer.
func TestFolderReads(t *testing.T) {
	t.Parallel()
	d, dir := testFolder(t)
	var buf []byte
	for _, size := range []int{0, 1, 511, 512, 513, 4096, 70000, 3, maxFile - 1, maxFile, maxFile + 1, 10} {
		want := bytes.Repeat([]byte("x"), size)
		if err := os.WriteFile(filepath.Join(dir, "f"), want, 0o600); err != nil {
			t.Fatal(err)
		}
		got, changed, err := d.read("f", &buf)
		if size > maxFile {
			wantError(t, "a file above the limit", err, "larger than")
			continue
		}
		if err != nil || !bytes.Equal(got, want) || changed.Nano() == 0 {
			t.Errorf("file of %d bytes: read %d, changed %d, error %v", size, len(got), changed.Nano(), err)
		}
	}
	if len(buf) > 2*maxFile {
		t.Errorf("the buffer has grown to %d bytes", len(buf))
	}
}

// TestFolderFollowsNothing: links, pipes and directories are told as such, never
// followed and never waited for.
func TestFolderFollowsNothing(t *testing.T) {
	t.Parallel()
	d, dir := testFolder(t)
	err := errors.Join(os.Mkdir(filepath.Join(dir, "dir"), 0o700), os.Symlink("dir", filepath.Join(dir, "link")),
		unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600), unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0),
		os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	var buf []byte
	for name, words := range map[string]string{"dir": "is a directory", "link": "is a link", "pipe": "is a special file", "socket": "is a special file"} {
		_, _, err := d.read(name, &buf)
		wantError(t, "reading "+name, err, words, "not a file")
	}
	if _, _, err := d.read("missing", &buf); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading what is missing: %v, want fs.ErrNotExist", err)
	}
	for _, name := range []string{"link", "file", "missing"} {
		if sub, err := d.folder(name); err == nil {
			sub.close()
			t.Errorf("%s was opened as a directory", name)
		}
	}
	if text, err := d.readlink("link"); err != nil || text != "dir" {
		t.Errorf("link leads to %q, %v; want dir", text, err)
	}
	long := strings.Repeat("../", 600) + "x"
	if err := os.Symlink(long, filepath.Join(dir, "long")); err != nil {
		t.Fatal(err)
	}
	if text, err := d.readlink("long"); err != nil || text != long {
		t.Errorf("a link of %d bytes was read as %d, %v", len(long), len(text), err)
	}
	_, err = d.readlink("file")
	wantError(t, "a file read as a link", err, "is a file, not a link")
	if _, err := d.readlink("missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing link: %v, want fs.ErrNotExist", err)
	}
}

// TestNoKeyIsOpened: a snapshot opens no private key, but one whose file changed
// after its certificate was published.
func TestNoKeyIsOpened(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	ca, key := newTestCA(t), newKey(t)
	if _, err := s.SaveKey(key); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // more than a tick of the kernel's clock
	cert := ca.issue(t, key, "https://ca.example/order/1", day(80), "www.example.com")
	if _, err := s.Publish(cert); err != nil {
		t.Fatal(err)
	}
	file := s.Path("keys", cert.KeyID, "privkey")
	opened := watchOpens(t, file)
	if c := snapshot(t, s).Certificates[CertID(cert.URL)]; !c.Usable() {
		t.Fatalf("damage %q, key there %v", c.Damage, c.HasKey)
	}
	if opened() {
		t.Error("the snapshot opened a private key that has not changed")
	}
	if err := os.Chmod(file, 0o400); err != nil {
		t.Fatal(err)
	}
	if c := snapshot(t, s).Certificates[CertID(cert.URL)]; !c.Usable() {
		t.Errorf("after a chmod: damage %q, key there %v", c.Damage, c.HasKey)
	}
	if !opened() {
		t.Error("the snapshot trusted a private key whose file has changed")
	}
}

// watchOpens returns a function that reports whether the file was opened since it
// was called last.
func watchOpens(t *testing.T, file string) func() bool {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Skipf("this system has no inotify: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, file, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		n, err := unix.Read(fd, make([]byte, 4096))
		return err == nil && n > 0
	}
}
