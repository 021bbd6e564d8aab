package state

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestRootLeavesTheDirectoryToItsOwner: what root does by hand in the directory
// of a daemon that is not root, the daemon can read and change afterwards.
func TestRootLeavesTheDirectoryToItsOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can act in the place of another user")
	}
	const nobody, group = 65534, 65533
	dir := filepath.Join(t.TempDir(), "acme")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, nobody, group); err != nil {
		t.Fatal(err)
	}
	s := lockStore(t, dir)
	if _, err := s.SaveKey(newKey(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SaveEvent(Event{Event: "live-updated", Names: []string{"a.example.com"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.MakeTempDir("acme-challenge"); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Uid != nobody || st.Gid != group {
			t.Errorf("%s belongs to %d:%d, want %d:%d", path, st.Uid, st.Gid, nobody, group)
		}
		seen++
		return nil
	})
	if err != nil || seen < 13 {
		t.Errorf("looked at %d files: %v", seen, err)
	}
}

// TestOwnersOfConfPermGoFirst: only what conf/perm leaves open is the owner's.
func TestOwnersOfConfPermGoFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	info.Sys().(*syscall.Stat_t).Uid = 1000
	info.Sys().(*syscall.Stat_t).Gid = 1001
	for _, tt := range []struct {
		name     string
		euid     int
		path     string
		uid, gid int
	}{
		{"root, nothing said", 0, "certs/x", 1000, 1001},
		{"root, a group said", 0, "keys/x", 1000, 7},
		{"root, a path of no pattern", 0, "unheard/of", 1000, 1001},
		{"not root", 1000, "certs/x", -1, -1},
	} {
		table, err := parsePerms("perm", []byte("keys 0640 0750 - 7\n"))
		if err != nil {
			t.Fatal(err)
		}
		table.ownedBy(info, tt.euid)
		if r := table.at(tt.path); r.uid != tt.uid || r.gid != tt.gid {
			t.Errorf("%s: %s belongs to %d:%d, want %d:%d", tt.name, tt.path, r.uid, r.gid, tt.uid, tt.gid)
		}
	}
}
