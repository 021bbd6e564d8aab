package challenge

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestListening reads a /proc file system, half of it nonsense.
func TestListening(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	if listening(proc) != nil {
		t.Error("without /proc/net, ports are told")
	}
	write := func(name, text string) {
		path := filepath.Join(proc, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	line := func(port, state, inode string) string {
		return fmt.Sprintf("   0: 0100007F:%s 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %s 1 x\n", port, state, inode)
	}
	write("net/tcp", "  sl  local_address ...\n"+line("0050", "0A", "11")+line("1F90", "01", "12")+"garbage\n"+line("ZZZZ", "0A", "13"))
	write("net/tcp6", line("01BB", "0A", "14"))
	write("77/comm", "nginx\n")
	write("77/fd/0", "no link")
	write("self/comm", "x")
	for fd, target := range map[string]string{"3": "socket:[11]", "4": "/dev/null", "5": "socket:[12]"} {
		if err := os.Symlink(target, filepath.Join(proc, "77/fd", fd)); err != nil {
			t.Fatal(err)
		}
	}
	h := listening(proc)
	if len(h) != 2 || h[80] != "nginx (pid 77)" || h[443] != "" || h.Certd(80) {
		t.Errorf("ports %v, want 80 of nginx and 443 of somebody", h)
	}
}

// An address that is taken is said to be so by whom.
func TestInUseByWhom(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = Bind(t.Context(), ln.Addr().String())
	if want := fmt.Sprintf("(pid %d)", os.Getpid()); err == nil || !strings.Contains(err.Error(), "in use by ") || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one that says in use by whom, %s", err, want)
	}
}
