package challenge_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"certd/challenge"
	"certd/challenge/challengetest"
	"certd/test/ports"
)

func TestContractWebroot(t *testing.T) {
	t.Parallel()
	challengetest.Run(t, challengetest.Harness{Start: func(t *testing.T) challengetest.Subject {
		box := newBox(t)
		return challengetest.Subject{
			Solver:  &challenge.Webroot{Dirs: []string{box.webroot}},
			Fetch:   overHTTP(serveFiles(t, box.webroot)),
			Left:    func() []string { return entries(t, box.webroot) },
			Touched: box.touched,
		}
	}})
}

func TestContractWebroots(t *testing.T) {
	t.Parallel()
	challengetest.Run(t, challengetest.Harness{Start: func(t *testing.T) challengetest.Subject {
		box := newBox(t)
		second := filepath.Join(t.TempDir(), ".well-known", "acme-challenge")
		return challengetest.Subject{
			Solver:  &challenge.Webroot{Dirs: []string{"/proc/none/of/it", box.webroot, second}},
			Fetch:   overHTTP(serveFiles(t, second)),
			Left:    func() []string { return append(entries(t, box.webroot), entries(t, second)...) },
			Touched: box.touched,
		}
	}})
}

func TestContractListen(t *testing.T) {
	t.Parallel()
	challengetest.Run(t, challengetest.Harness{Start: func(t *testing.T) challengetest.Subject {
		r := challenge.NewResponder()
		addr := freeAddr(t)
		return challengetest.Subject{
			Solver: &challenge.Listen{Responder: r, Addrs: []string{addr, "192.0.2.77:1"}},
			Fetch:  overHTTP("http://" + addr),
			Left:   func() []string { return openPorts(r, addr) },
		}
	}})
}

// The daemon may keep the responder open; then the way only puts its answers.
func TestContractListenElsewhere(t *testing.T) {
	t.Parallel()
	challengetest.Run(t, challengetest.Harness{Start: func(t *testing.T) challengetest.Subject {
		r := challenge.NewResponder()
		addr := listenAnywhere(t, r)
		return challengetest.Subject{
			Solver: &challenge.Listen{Responder: r},
			Fetch:  overHTTP("http://" + addr),
		}
	}})
}

func TestContractStateless(t *testing.T) {
	t.Parallel()
	challengetest.Run(t, challengetest.Harness{Permanent: true, Start: func(t *testing.T) challengetest.Subject {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token := strings.TrimPrefix(r.URL.Path, challenge.PathPrefix)
			fmt.Fprintf(w, "%s.%s", token, challengetest.Thumbprint())
		}))
		t.Cleanup(web.Close)
		return challengetest.Subject{
			Solver: &challenge.Stateless{Thumbprint: challengetest.Thumbprint()},
			Fetch:  overHTTP(web.URL),
		}
	}})
}

func TestContractHook(t *testing.T) {
	t.Parallel()
	challengetest.Run(t, challengetest.Harness{Start: func(t *testing.T) challengetest.Subject {
		hooks := &fakeHooks{}
		return challengetest.Subject{
			Solver: &challenge.Hook{Run: hooks.run, Target: "www"},
			Fetch:  hooks.fetch,
			Left:   hooks.left,
		}
	}})
}

func TestContractHTTP01(t *testing.T) {
	t.Parallel()
	challengetest.Run(t, challengetest.Harness{Start: func(t *testing.T) challengetest.Subject {
		box, standard := newBox(t), t.TempDir()
		responder, hooks := challenge.NewResponder(), &fakeHooks{}
		proxy, listen := ports.Free(t), ports.Free(t)
		h, err := challenge.New(challenge.Config{
			Target: "www", Webroots: []string{box.webroot}, StandardWebroot: standard,
			ProxyPort: proxy, HTTPPort: listen, Responder: responder, Hook: hooks.run,
		})
		if err != nil {
			t.Fatal(err)
		}
		addrs := []string{fmt.Sprintf("127.0.0.1:%d", proxy), fmt.Sprintf("127.0.0.1:%d", listen)}
		fetches := []func(string) (string, bool, error){
			hooks.fetch, overHTTP(serveFiles(t, box.webroot)), overHTTP(serveFiles(t, standard)),
			overHTTP("http://" + addrs[0]), overHTTP("http://" + addrs[1]),
		}
		return challengetest.Subject{
			Solver: h,
			Fetch:  func(token string) (string, bool, error) { return everywhere(fetches, token) },
			Left: func() []string {
				return slices.Concat(entries(t, box.webroot), entries(t, standard), openPorts(responder, addrs...), hooks.left())
			},
			Touched: box.touched,
		}
	}})
}

// everywhere is found only if every way has the same answer, and an error if only some have.
func everywhere(fetches []func(string) (string, bool, error), token string) (string, bool, error) {
	var answers []string
	for _, fetch := range fetches {
		if got, found, err := fetch(token); err == nil && found {
			answers = append(answers, got)
		}
	}
	switch {
	case len(answers) == 0:
		return "", false, nil
	case len(answers) < len(fetches) || len(slices.Compact(answers)) > 1:
		return "", true, fmt.Errorf("only %d of %d ways have the answer", len(answers), len(fetches))
	}
	return answers[0], true, nil
}

// A box is a webroot among files that must not change.
type box struct {
	t       *testing.T
	webroot string
	before  map[string]string
}

// newBox makes the webroot with symbolic links in it that lead outside.
func newBox(t *testing.T) *box {
	base := t.TempDir()
	b := &box{t: t, webroot: filepath.Join(base, "www", "acme-challenge")}
	outside := filepath.Join(base, "outside")
	for _, dir := range []string{b.webroot, outside} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(outside, "x")
	if err := os.WriteFile(secret, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"a": outside, ".": secret} {
		if err := os.Symlink(target, filepath.Join(b.webroot, "link"+name)); err != nil {
			t.Fatal(err)
		}
	}
	b.before = b.tree()
	return b
}

func (b *box) touched() []string {
	var changed []string
	after := b.tree()
	for name, was := range b.before {
		if after[name] != was {
			changed = append(changed, name)
		}
		delete(after, name)
	}
	for name := range after {
		changed = append(changed, name)
	}
	return changed
}

// tree is every file beside the webroot with its mode and content.
func (b *box) tree() map[string]string {
	files := map[string]string{}
	base := filepath.Dir(filepath.Dir(b.webroot))
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, _ := os.ReadFile(path) // a directory has none
		if path != b.webroot {       // its time may change
			files[path] = info.Mode().String() + string(data)
		}
		return nil
	})
	if err != nil {
		b.t.Error(err)
	}
	return files
}

// entries are the files of dir but the links that newBox made.
func entries(t *testing.T, dir string) []string {
	list, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	var names []string
	for _, entry := range list {
		if !strings.HasPrefix(entry.Name(), "link") {
			names = append(names, filepath.Join(dir, entry.Name()))
		}
	}
	return names
}

// fakeHooks is a HookFunc that keeps what it was told.
type fakeHooks struct {
	mu      sync.Mutex
	answers map[string]string
	calls   []string
}

func (f *fakeHooks) run(ctx context.Context, event string, args []string, stdin []byte, env map[string]string, _ *os.File) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answers == nil {
		f.answers = map[string]string{}
	}
	f.calls = append(f.calls, fmt.Sprintf("%s %q %s %v", event, args, stdin, env))
	if event == challenge.EventHTTPStart {
		f.answers[args[2]] = string(stdin)
	} else {
		delete(f.answers, args[2])
	}
	return true, nil
}

func (f *fakeHooks) fetch(token string) (string, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	answer, found := f.answers[token]
	return answer, found, nil
}

func (f *fakeHooks) left() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []string
	for token := range f.answers {
		left = append(left, "hook for "+token)
	}
	return left
}

// serveFiles is a web server as the operator would set it up; it returns its URL.
func serveFiles(t *testing.T, dir string) string {
	mux := http.NewServeMux()
	mux.Handle(challenge.PathPrefix, http.StripPrefix(challenge.PathPrefix, http.FileServer(http.Dir(dir))))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	return web.URL
}

func overHTTP(base string) func(string) (string, bool, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(token string) (string, bool, error) {
		resp, err := client.Get(base + challenge.PathPrefix + token)
		if err != nil {
			return "", false, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), resp.StatusCode == http.StatusOK, err
	}
}

func freeAddr(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", ports.Free(t)) }

// listenAnywhere opens r on a port of its own until the end of the test.
func listenAnywhere(t *testing.T, r *challenge.Responder) string {
	if _, err := r.Listen([]string{"127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close responder: %v", err)
		}
	})
	return r.Addrs()[0]
}

// openPorts are the listeners of r, and those of addrs that still accept.
func openPorts(r *challenge.Responder, addrs ...string) []string {
	open := r.Addrs()
	for _, addr := range addrs {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			open = append(open, addr)
		}
	}
	return open
}
