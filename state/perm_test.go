package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPermTable(t *testing.T) {
	t.Parallel()
	const conf = `# modes
keys             0640 0750        # for the mail server
certs/*/haproxy  inherit
live/*.internal  0640 0750 $r -
conf             600 2750
certs/*/url      0640 0700`
	table, err := parsePerms("conf/perm", []byte(conf))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path      string
		file, dir fs.FileMode
		uid       int
	}{
		{".", 0o644, 0o755, -1},
		{"keys", 0o640, 0o750, -1},
		{"keys/abc/privkey", 0o640, 0o750, -1},
		{"accounts/x/y/privkey", 0o600, 0o700, -1},
		{"certs/abc/cert", 0o644, 0o755, -1},
		{"certs/abc/haproxy", 0o644, 0o755, -1},
		{"certs/abc/url", 0o640, 0o700, -1}, // the last line, without a newline
		{"live/a.internal", 0o640, 0o750, os.Getuid()},
		{"live/a.example", 0o644, 0o755, -1},
		{"conf/target", 0o600, 0o750 | fs.ModeSetgid, -1},
		{"orders/x.json", 0o644, 0o755, -1},
		{"lock", 0o600, 0o700, -1},
	}
	for _, tt := range tests {
		r := table.at(tt.path)
		if r.file != tt.file || r.dir != tt.dir || r.uid != tt.uid || r.gid != -1 {
			t.Errorf("rule of %s is %v %v %d:%d, want %v %v %d:-1", tt.path, r.file, r.dir, r.uid, r.gid, tt.file, tt.dir, tt.uid)
		}
	}
}

func TestPermDefaultsAreAcmetools(t *testing.T) {
	t.Parallel()
	table, err := parsePerms("conf/perm", nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]rule{
		"certs/abc/haproxy": {0o600, 0o700, -1, -1, false}, "tmp/x": {0o600, 0o700, -1, -1, false},
		"desired/x": {0o644, 0o755, -1, -1, false}, "haproxy/x": {0o644, 0o755, -1, -1, false},
	} {
		if got := table.at(path); got != want {
			t.Errorf("rule of %s is %+v, want %+v", path, got, want)
		}
	}
	table, err = parsePerms("conf/perm", []byte(". inherit\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := table.at("orders/x.json"); got.file != 0o600 || got.dir != 0o755 {
		t.Errorf("without any rule the modes are %v %v, want 0600 0755", got.file, got.dir)
	}
}

func TestPermErrorsNameTheLine(t *testing.T) {
	t.Parallel()
	tests := []struct{ conf, want string }{
		{"keys 0640", "conf/perm:1: want"},
		{"\n# x\nkeys 0640 0750 root", "conf/perm:3: want"},
		{"keys 0640 0750 root root root", "conf/perm:1: want"},
		{"keys inherit 0640", "mode \"inherit\""},
		{"keys 0648 0750", "mode \"0648\""},
		{"keys 64 0750", "mode \"64\""},
		{"keys 00640 0750", "mode \"00640\""},
		{"keys 0666 0750", "lets everybody write"},
		{"keys 0640 0757", "lets everybody write"},
		{"/etc 0640 0750", "leaves the state directory"},
		{"../x 0640 0750", "leaves the state directory"},
		{"a/../.. 0640 0750", "leaves the state directory"},
		{"keys/[ 0640 0750", "syntax error in pattern"},
		{"keys 0640 0750\nkeys/ 0600 0700", "conf/perm:2: pattern \"keys\" was already given in line 1"},
		{"keys 0640 0750 nobody-of-this-name root", "nobody-of-this-name"},
		{"keys 0640 0750 root nogroup-of-this-name", "nogroup-of-this-name"},
		{"keys 0640 0750 99999999999 0", "99999999999"},
	}
	for _, tt := range tests {
		_, err := parsePerms("conf/perm", []byte(tt.conf))
		if _, ok := errors.AsType[*PermError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("conf/perm %q: got error %v, want one with %q", tt.conf, err, tt.want)
		}
	}
}

// TestPermIsObeyed: files and directories get what conf/perm says, patterns make
// no directories.
func TestPermIsObeyed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "acme")
	if err := os.MkdirAll(filepath.Join(dir, "conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := "keys 0640 0750 $r $r\nkeys/*/privkey 0440 0750\nno/such/dir 0644 0755\ncerts/*/cert 0600 0700"
	if err := os.WriteFile(filepath.Join(dir, "conf", "perm"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	s := lockStore(t, dir)
	id := published(t, s, newTestCA(t), "https://ca.example/order/1", day(80), "www.example.com")
	cert := snapshot(t, s).Certificates[id]
	for path, want := range map[string]fs.FileMode{
		"keys": 0o750, "keys/" + cert.KeyID: 0o750, "keys/" + cert.KeyID + "/privkey": 0o440,
		"certs/" + id: 0o755, "certs/" + id + "/cert": 0o600, "certs/" + id + "/chain": 0o644,
	} {
		fi, err := os.Stat(s.Path(path))
		if err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v (%v), want mode %04o", path, fi, err, want)
		}
	}
	if _, err := os.Lstat(s.Path("no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a pattern made a directory: %v", err)
	}
	noBroken(t, snapshot(t, s))
}

func TestOpenReportsBadPerm(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	if err := s.WriteConf("perm", []byte("keys 0640\n")); err != nil {
		t.Fatal(err)
	}
	_, err := Open(s.Dir())
	wantError(t, "open with a bad conf/perm", err, s.Path("conf", "perm")+":1:")
}

func FuzzPerm(f *testing.F) {
	f.Add([]byte("keys 0640 0750\n"))
	f.Add([]byte("# c\n\ncerts/*/haproxy inherit\r\n. 0600 0700 $r - # x"))
	f.Add([]byte("[ 777 777 0 0\n\\ 644 755"))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := parsePerms("conf/perm", data)
		if err != nil {
			if _, ok := errors.AsType[*PermError](err); !ok {
				t.Fatalf("error %v names no line", err)
			}
			return
		}
		if _, err := parsePerms("conf/perm", append(data, '\n')); err != nil {
			t.Fatalf("with one more newline: %v", err)
		}
		for pattern, r := range table {
			if strings.HasPrefix(pattern, "/") || pattern == ".." || strings.HasPrefix(pattern, "../") {
				t.Fatalf("pattern %q leaves the state directory", pattern)
			}
			if (r.file|r.dir)&0o002 != 0 {
				t.Fatalf("pattern %q lets everybody write", pattern)
			}
		}
		table.at("certs/abc/cert")
	})
}
