package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"certd/acme/acmetest"
)

// TestRunEditsBesideALongPass: want and unwant record beside a daemon whose hook
// takes long, say who goes on with it, and never wait for the pass's end; many at
// once lose nothing.
func TestRunEditsBesideALongPass(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	s, _ := daemonSite(t, ca)
	s.write("hooks/slow", fmt.Sprintf("#!/bin/sh\n[ \"$1\" = live-updated ] || exit 42\ntouch %[1]s/running\nwhile [ ! -e %[1]s/go ]; do sleep 0.1; done\n", s.dir))
	if err := os.Chmod(filepath.Join(s.hooks, "slow"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("acme/desired/www.example.test", "")
	r := s.daemon(nil)
	waitFor(t, "the hook runs", func() bool { _, err := os.Stat(s.dir + "/running"); return err == nil })

	takes := fmt.Sprintf("certd run (process %d) takes desired/", r.cmd.Process.Pid)
	if res := s.must(0, "want", "second.example.test"); !strings.Contains(res.out, takes+"second.example.test up") {
		t.Errorf("want says %v, want %q", res, takes)
	}
	if rows := s.rows(0, "want", "second.example.test"); len(rows) != 0 {
		t.Errorf("want of what is recorded already gives %v", rows)
	}
	if res := s.must(0, "want", "--no-reconcile", "gone.example.test"); !strings.Contains(res.out, takes+"gone.example.test up") {
		t.Errorf("want --no-reconcile says %v, want %q", res, takes)
	}
	s.must(0, "unwant", "gone.example.test")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			label := fmt.Sprintf("l%d", i)
			if res := s.run("want", "--no-reconcile", "--label", label, "many.example.test"); res.code != 0 {
				t.Errorf("want %d: %v", i, res)
			}
			if res := s.run("want", "--no-reconcile", "same.example.test"); res.code != 0 {
				t.Errorf("want %d: %v", i, res)
			}
		})
	}
	all.Wait()
	files, err := os.ReadDir(filepath.Join(s.state, "desired"))
	if err != nil || len(files) != 11 {
		t.Errorf("desired/ has %v (%v), want www, second, same, and many eight times", files, err)
	}

	s.write("go", "")
	for _, name := range []string{"second.example.test", "same.example.test", "many.example.test:l0", "many.example.test:l7"} {
		waitFor(t, name, s.isLive(name))
	}
	if s.isLive("gone.example.test")() {
		t.Error("what was taken back during the pass is obtained")
	}
	r.terminate()
	if res := s.must(0, "want", "--no-reconcile", "www.example.test"); strings.Contains(res.out, "certd run") {
		t.Errorf("a daemon that has ended is told of: %v", res)
	}
}
