package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// files lists the targets by file.
func files(ts *Targets) string {
	var out []string
	for _, t := range ts.Targets {
		out = append(out, t.File)
	}
	return strings.Join(out, " ")
}

func TestLoadTargets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "conf/target", "request: {provider: \"https://ca.internal/dir\"}\nsatisfy: {margin: 9}\n")
	write(t, dir, "conf/webroot-path", "/var/www/one\n\n  /var/www/two\n")
	write(t, dir, "conf/rsa-key-size", "3072\n")
	write(t, dir, "desired/www.example.com", "")
	write(t, dir, "desired/b-x7", "satisfy: {names: [b.example.com]}")
	write(t, dir, "desired/.hidden.example.com", "nonsense: [")
	write(t, dir, "desired/.swp/x", "")
	ts, err := LoadTargets(dir)
	if err != nil || len(ts.Errors) != 0 || len(ts.Unread) != 0 || files(ts) != "b-x7 www.example.com" {
		t.Fatalf("got %v, %v, %v", files(ts), ts.Errors, err)
	}
	w := ts.Targets[1]
	if w.Margin != 9 || w.CAs[0] != "https://ca.internal/dir" || w.Key.String() != "rsa-3072" || strings.Join(w.Challenge.WebrootPaths, " ") != "/var/www/one /var/www/two" {
		t.Errorf("got %+v, want what conf/ says", w)
	}
	if ts.Default.Margin != 9 || ts.Default.Names != nil {
		t.Errorf("got default %+v", ts.Default)
	}
}

func TestLoadTargetsEmpty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "missing")} {
		ts, err := LoadTargets(path)
		if err != nil || len(ts.Targets) != 0 || ts.Default == nil || !ts.Default.Challenge.SelfTest {
			t.Errorf("%s: got %+v, %v; want no targets and certd's defaults", path, ts, err)
		}
	}
}

// TestLoadTargetsBroken: a broken file is reported and hides no other.
func TestLoadTargetsBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := t.TempDir()
	write(t, outside, "secret", "label: leaked")
	write(t, dir, "desired/a.example.com", "lable: x\npriority: x\n")
	write(t, dir, "desired/b.example.com", "")
	write(t, dir, "desired/README", "")
	write(t, dir, "desired/c.example.com.bak", strings.Repeat(" ", maxFile+1))
	write(t, dir, "desired/sub/x", "")
	write(t, dir, "desired/with space", "")
	for name, to := range map[string]string{"d.example.com": "b.example.com", "e.example.com": filepath.Join(outside, "secret"), "f.example.com": "none"} {
		if err := os.Symlink(to, filepath.Join(dir, "desired", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "desired/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	ts, err := LoadTargets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if files(ts) != "b.example.com d.example.com" {
		t.Errorf("got %s, want the good files", files(ts))
	}
	want := []string{
		`desired/README: no satisfy.names, and the file's own name is not one: name "README": is a single label; want a full name such as www.example.com`,
		`desired/a.example.com:1: lable: unknown key; did you mean label?`,
		`desired/a.example.com:2: priority: want a whole number from -2147483648 to 2147483647, found "x"`,
		`desired/c.example.com.bak: is larger than 1048576 bytes`,
		`desired/e.example.com: is a link to ` + strconv.Quote(filepath.Join(outside, "secret")) + `, outside the state directory, and not followed; put the file here`,
		`desired/f.example.com: is a link that leads nowhere; remove it`,
		`desired/pipe: is no regular file`,
		`desired/sub: is a directory; want a file`,
		`desired/"with space": file name: "with space" has white space, a slash or unreadable characters; rename it`,
	}
	var got []string
	for _, e := range ts.Errors {
		got = append(got, e.Error())
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(ts.Unread) != 8 || !ts.Unread["a.example.com"] || ts.Unread["b.example.com"] {
		t.Errorf("got unread %v", ts.Unread)
	}
}

// TestLoadTargetsBrokenDefault: without conf/target nobody knows which CA a name should go to.
func TestLoadTargetsBrokenDefault(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, text, want string }{
		{"conf/target", "request: {provder: \"https://ca.internal/dir\"}", "conf/target:1: request.provder: unknown key; did you mean request.provider?"},
		{"conf/target/x", "", "conf/target: is a directory; want a file"},
		{"conf/webroot-path", "/a\nwww\n", `conf/webroot-path:2: path "www" is not absolute; begin it with "/"`},
		{"conf/rsa-key-size", "big", `conf/rsa-key-size:1: want a number of bits, found "big"`},
		{"desired", "", "list desired"},
	} {
		dir := t.TempDir()
		write(t, dir, tt.path, tt.text)
		if _, err := LoadTargets(dir); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.path, err, tt.want)
		}
	}
}

// TestLinkedTarget: a target file may be a link to another place in the state
// directory, and not to one outside.
func TestLinkedTarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "shared/web", "satisfy: {names: [a.example.com, b.example.com]}")
	write(t, dir, "desired/first.example.com", "")
	for file, to := range map[string]string{"web": "../shared/web", "same": "first.example.com", "outside": "../../etc/hostname"} {
		if err := os.Symlink(to, filepath.Join(dir, "desired", file)); err != nil {
			t.Fatal(err)
		}
	}
	ts, err := LoadTargets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(ts.Targets) != 2 || ts.Targets[1].File != "web" || len(ts.Targets[1].Names) != 2 {
		t.Errorf("targets %+v, want first.example.com and web with the names of the file it links to", ts.Targets)
	}
	if !ts.Unread["outside"] || !ts.Unread["same"] {
		t.Errorf("unread are %v, want the link that leads out, and the one whose own name is no host name", ts.Unread)
	}
}

func BenchmarkLoadTargets(b *testing.B) {
	dir := b.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "desired"), 0o755); err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		name := fmt.Sprintf("www%d.example.com", i)
		text := fmt.Sprintf("satisfy:\n  names: [%s, a%d.example.com]\n", name, i)
		if err := os.WriteFile(filepath.Join(dir, "desired", name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if ts, err := LoadTargets(dir); err != nil || len(ts.Targets) != 1000 {
			b.Fatal(err)
		}
	}
}
