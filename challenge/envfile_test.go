package challenge

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEnvFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want []string
		says string
	}{
		{"", nil, ""},
		{"A=1\n", []string{"A=1"}, ""},
		{"\ufeffA=1\r\n B = 2\r\n", nil, "2: want NAME=value"},
		{"# x\n; y\n\n export A=x=y # z\n", []string{"A=x=y # z"}, ""},
		{`A='it is $HOME \n'`, []string{`A=it is $HOME \n`}, ""},
		{`A="a \"b\" \\ \n"`, []string{`A=a "b" \ \n`}, ""},
		{"A=\nB=''\n", []string{"A=", "B="}, ""},
		{`A="x`, nil, "1: A: the quote is not closed"},
		{`A='x' y`, nil, "1: A: the quote is not closed, or something follows it"},
		{"A=1\nA=2\n", nil, "2: A is given twice, first in line 1"},
		{"PATH=/tmp\n", nil, "1: PATH cannot be set here"},
		{"LD_PRELOAD=/tmp/x.so\n", nil, "1: LD_PRELOAD cannot be set here"},
		{"1A=x\n", nil, "1: want NAME=value"},
		{"just a word\n", nil, "1: want NAME=value"},
		{"A=x\x00y\n", nil, "1: A: the value has control characters"},
	} {
		got, err := parseEnv(c.text)
		if c.says == "" && (err != nil || !slices.Equal(got, c.want)) {
			t.Errorf("%q: got %q, %v, want %q", c.text, got, err, c.want)
		}
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%q: got the error %v, want %q", c.text, err, c.says)
		}
	}
}

func TestEnvFileAccess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "env")
	if err := os.WriteFile(path, []byte("A=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if env, err := readEnvFile(path, 0); err != nil || !slices.Equal(env.vars, []string{"A=1"}) || env.as != nil {
		t.Errorf("a file of one's own: got %v, %v", env, err)
	}
	if _, err := readEnvFile(dir, 0); err == nil {
		t.Error("a directory was read")
	}
	if _, err := readEnvFile(filepath.Join(dir, "none"), 0); err == nil {
		t.Error("a file that is not there was read")
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(path, 12345, 54321); err != nil {
		t.Fatal(err)
	}
	if env, err := readEnvFile(path, 12345); err != nil || env.as == nil || env.as.Uid != 12345 || env.as.Gid != 54321 {
		t.Errorf("that of the state directory's owner, read by root: got %+v, %v, want to become the owner", env, err)
	}
}

func FuzzEnvFile(f *testing.F) {
	f.Add("A=1\nexport B='x'\n# y\nC=\"\\\"\"\n")
	f.Add("A='")
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := parseEnv(text)
		if err != nil && strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("%q: the error %q is not one line", text, err)
		}
		for _, v := range vars {
			name, value, ok := strings.Cut(v, "=")
			if !ok || !isVariable(name) || strings.ContainsAny(value, "\x00\n\r") {
				t.Errorf("%q: gives %q", text, v)
			}
		}
	})
}
