package challenge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Credentials are for root, or this user, and perhaps one group.
func TestWhoMayReadAnEnvFile(t *testing.T) {
	t.Parallel()
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o400: "", 0o640: "",
		0o644: "chmod 0640", 0o660: "chmod 0640", 0o666: "chmod 0640", 0o620: "chmod 0640", 0o604: "chmod 0640",
	} {
		path := filepath.Join(t.TempDir(), "dns.env")
		if err := os.WriteFile(path, []byte("A=b\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		env, err := readEnvFile(path, 0)
		switch {
		case want == "" && (err != nil || len(env.vars) != 1):
			t.Errorf("mode %04o: got %v, %v; want one variable", mode, env.vars, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("mode %04o: got error %v, want %q", mode, err, want)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	path := filepath.Join(t.TempDir(), "dns.env")
	if err := os.WriteFile(path, []byte("A=b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	if _, err := readEnvFile(path, 0); err == nil || !strings.Contains(err.Error(), "belongs to user 4711") {
		t.Errorf("a file that user 4711 can change: got error %v, want that it is refused", err)
	}
}
