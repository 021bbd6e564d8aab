package hooks

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEventCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		ev   Event
		err  string // a part of the error; empty if the event is fine
	}{
		{"plain", Event{Name: "live-updated"}, ""},
		{"names", Event{Name: "live-updated", Stdin: []byte("a.example.com\n*.example.com\nexample.com:rsa\n2001:db8::1\n")}, ""},
		{"anything for other events", Event{Name: "challenge-tls-sni-start", Stdin: []byte("\x00\x01/../")}, ""},
		{"empty argument", Event{Name: "challenge-dns-stop", Args: []string{"example.com", "", "txt"}}, ""},
		{"text of the CA", Event{Name: "failed", Args: []string{"zu viele Aufträge"}}, ""},
		{"no name", Event{}, "not a name"},
		{"an option", Event{Name: "--help"}, "not a name"},
		{"a space", Event{Name: "live updated"}, "not a name"},
		{"upper case", Event{Name: "Failed"}, "not a name"},
		{"long name", Event{Name: strings.Repeat("a", 129)}, "not a name"},
		{"NUL", Event{Name: "failed", Args: []string{"ok", "a\x00b"}}, "argument 2: control character 0x00"},
		{"newline", Event{Name: "failed", Args: []string{"a\nb"}}, "argument 1: control character 0x0a"},
		{"long argument", Event{Name: "failed", Args: []string{strings.Repeat("a", maxArg+1)}}, "more than 65536"},
		{"many arguments", Event{Name: "failed", Args: make([]string, maxArgs+1)}, "65 arguments"},
		{"variable", Event{Name: "failed", Env: map[string]string{"TSIG_KEY_1": "x y\nz"}}, ""},
		{"no variable", Event{Name: "failed", Env: map[string]string{"1A": ""}}, "no name for an environment variable"},
		{"function", Event{Name: "failed", Env: map[string]string{"BASH_FUNC_ls%%": "() { id; }"}}, "no name for an environment variable"},
		{"empty variable", Event{Name: "failed", Env: map[string]string{"": "x"}}, "no name for an environment variable"},
		{"variable with NUL", Event{Name: "failed", Env: map[string]string{"A": "\x00"}}, "NUL in it"},
		{"endless input", Event{Name: "failed", Stdin: make([]byte, maxStdin+1)}, "for stdin"},
		{"no newline", Event{Name: "live-updated", Stdin: []byte("a.example.com")}, "no newline"},
		{"empty line", Event{Name: "live-updated", Stdin: []byte("a.example.com\n\n")}, "line 2 of stdin: empty"},
		{"way out", Event{Name: "live-updated", Stdin: []byte("../../etc\n")}, "line 1 of stdin"},
		{"hidden", Event{Name: "live-updated", Stdin: []byte(".\n")}, "cannot be the name"},
		{"option as a name", Event{Name: "live-updated", Stdin: []byte("-rf\n")}, "cannot be the name"},
		{"carriage return", Event{Name: "live-updated", Stdin: []byte("a.example.com\r\n")}, "control character 0x0d"},
	} {
		err := tt.ev.check()
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %v, want %q in the error", tt.name, err, tt.err)
		}
	}
}

func TestBadEventRunsNothing(t *testing.T) {
	t.Parallel()
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), "touch "+dir+"/ran\n")
	results, err := (&Runner{Dirs: []string{dir}}).Run(t.Context(), Event{Name: "live-updated", Stdin: []byte("../x\n")}, nil)
	if err == nil || results != nil || exists(dir+"/ran") {
		t.Errorf("got %v, %v; want an error and nothing run", results, err)
	}
}

// FuzzNames: a list that is accepted reads as so many safe file names.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"", "a.example.com\n", "*.example.com:rsa\n::1\n", "../x\n", "a\x00\n", "a", "\n", "a/b\n", "ä\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		if checkNames(list) != nil {
			return
		}
		text := string(list)
		for name := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
			if text == "" {
				break
			}
			if joined := filepath.Join("/live", name); filepath.Dir(joined) != "/live" || filepath.Base(joined) != name {
				t.Errorf("%q was accepted and leads to %s", name, joined)
			}
			if strings.HasPrefix(name, "-") || strings.ContainsAny(name, "\r\x00\x1b") {
				t.Errorf("%q was accepted", name)
			}
		}
	})
}

// TestNothingLeaks changes this process's environment, so it is not parallel.
func TestNothingLeaks(t *testing.T) {
	t.Setenv("CLOUDFLARE_DNS_API_TOKEN", "secret-token")
	t.Setenv("CERTD_EAB_HMAC", "secret-hmac")
	t.Setenv("NOTIFY_SOCKET", "/run/secret-socket")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("ACME_HOOKS_DIR", "/secret-dir")
	t.Setenv("PATH", "/usr/bin:/bin")
	t.Setenv("HOME", "/home/me")
	t.Setenv("LANG", "de_DE.UTF-8")
	t.Setenv("TZ", "Europe/Berlin")
	dir := hookDir(t)
	script(t, filepath.Join(dir, "h"), "tr '\\0' '\\n' </proc/$$/environ | sort\n")
	for _, tt := range []struct {
		name string
		r    Runner
		env  map[string]string
		want []string
	}{
		{"default", Runner{StateDir: "/state"}, nil, []string{"ACME_STATE_DIR=/state", "CERTD_EVENT=failed", "CERTD_STATE_DIR=/state",
			"HOME=/home/me", "LANG=de_DE.UTF-8", "PATH=/usr/bin:/bin", "TZ=Europe/Berlin"}},
		{"event's own variables", Runner{Environ: []string{"PATH=/bin:/usr/bin"}}, map[string]string{"ZONE": "a b", "CERTD_EVENT": "spoofed"},
			[]string{"CERTD_EVENT=failed", "PATH=/bin:/usr/bin", "ZONE=a b"}},
		{"event overrides the base", Runner{Environ: []string{"PATH=/bin:/usr/bin", "HOME=/"}}, map[string]string{"HOME": "/srv"},
			[]string{"CERTD_EVENT=failed", "HOME=/srv", "PATH=/bin:/usr/bin"}},
	} {
		tt.r.Dirs = []string{dir}
		res := one(t, &tt.r, Event{Name: "failed", Env: tt.env})
		if got := strings.Split(strings.TrimSpace(res.Output), "\n"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: the hook's environment is %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestPathWithoutPath: cron may leave PATH out.
func TestPathWithoutPath(t *testing.T) {
	t.Setenv("PATH", "")
	if err := os.Unsetenv("LANG"); err != nil {
		t.Fatal(err)
	}
	env := new(Runner).environ(Event{Name: "failed"})
	i := slices.IndexFunc(env, func(s string) bool { return strings.HasPrefix(s, "LANG=") })
	if last := env[len(env)-2]; last != "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" || i >= 0 {
		t.Errorf("got %q, want a useful PATH and no LANG", env)
	}
}
