package challenge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"certd/acme"
	"certd/challenge"
	"certd/challenge/challengetest"
)

func names(ways []challenge.Way) string {
	var all []string
	for _, way := range ways {
		all = append(all, way.Name())
	}
	return strings.Join(all, ", ")
}

func TestNewMethods(t *testing.T) {
	t.Parallel()
	hook := (&fakeHooks{}).run
	const proxy = "listen 127.0.0.1:402 [::1]:402 127.0.0.1:4402 [::1]:4402"
	for _, c := range []struct {
		name        string
		cfg         challenge.Config
		ways, spare string
	}{
		{"nothing said", challenge.Config{}, "webroot /run/acme/acme-challenge, " + proxy + ", listen :80", ""},
		{"everything there is", challenge.Config{Webroots: []string{"/a", "/b/", "/a"}, HTTPPorts: []string{"192.0.2.1:8080", "127.0.0.1:402"}, Hook: hook},
			"webroot /a /b, webroot /run/acme/acme-challenge, " + proxy + " 192.0.2.1:8080, listen :80, hook", ""},
		{"webroot", challenge.Config{Method: "webroot", Webroots: []string{"/a"}}, "webroot /a", "webroot /run/acme/acme-challenge"},
		{"webroot without directories", challenge.Config{Method: "webroot"}, "webroot /run/acme/acme-challenge", ""},
		{"webroot is the standard one", challenge.Config{Method: "webroot", Webroots: []string{"/run/acme/acme-challenge/"}}, "webroot /run/acme/acme-challenge", ""},
		{"proxy", challenge.Config{Method: "proxy"}, proxy, ""},
		{"proxy elsewhere", challenge.Config{Method: "proxy", ProxyPort: 9000}, "listen 127.0.0.1:9000 [::1]:9000", ""},
		{"listen", challenge.Config{Method: "listen"}, "listen :80", ""},
		{"listen elsewhere", challenge.Config{Method: "listen", HTTPPort: 5002}, "listen :5002", ""},
		{"listen on one address", challenge.Config{Method: "listen", HTTPPorts: []string{"192.0.2.1:80"}}, "listen 192.0.2.1:80", ""},
		{"proxy beside the daemon", challenge.Config{Method: "proxy", Beside: "/s"}, proxy + ", webroot /s", ""},
		{"listen beside the daemon", challenge.Config{Method: "listen", Beside: "/s"}, "listen :80, webroot /s", ""},
		{"redirector beside the daemon", challenge.Config{Method: "redirector", Beside: "/s"}, "webroot /run/acme/acme-challenge, webroot /s", "listen "},
		{"redirector", challenge.Config{Method: "redirector", StandardWebroot: "/s"}, "webroot /s", "listen "},
		{"stateless", challenge.Config{Method: "stateless"}, "stateless", ""},
		{"hook", challenge.Config{Method: "hook", Hook: hook}, "hook", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, err := challenge.New(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(h.Ways); got != c.ways {
				t.Errorf("ways: got %q, want %q", got, c.ways)
			}
			if got := names(h.Spare); got != c.spare {
				t.Errorf("spare ways: got %q, want %q", got, c.spare)
			}
			if h.SelfTest != nil {
				t.Error("a self-test without being asked for one")
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  challenge.Config
		want string
	}{
		{challenge.Config{Method: "dns"}, `request.challenge.method "dns" is not a method of http-01`},
		{challenge.Config{Method: "Webroot"}, "use webroot, proxy, listen"},
		{challenge.Config{Method: "hook"}, "there are no hooks to run"},
		{challenge.Config{Webroots: []string{"www"}}, `request.challenge.webroot-paths: "www" is not an absolute path`},
		{challenge.Config{Webroots: []string{""}}, `request.challenge.webroot-paths: "" is not an absolute path`},
		{challenge.Config{HTTPPorts: []string{"8080"}}, `request.challenge.http-ports: "8080" is not host:port`},
		{challenge.Config{HTTPPorts: []string{":http"}}, `"http" is not a port`},
		{challenge.Config{HTTPPort: 65536}, "challenge.http-port: 65536 is not a port"},
		{challenge.Config{ProxyPort: -1}, "challenge.proxy-port: -1 is not a port"},
		{challenge.Config{Resolver: "192.0.2.1"}, `challenge.resolver: "192.0.2.1" is not host:port`},
	} {
		if _, err := challenge.New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%+v): got the error %v, want one with %q", c.cfg, err, c.want)
		}
	}
}

// Nothing works: the error has every reason.
func TestPresentNoneWorks(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", ":0")
	must(t, err)
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	h, err := challenge.New(challenge.Config{
		Webroots: []string{"/proc/none/www"}, StandardWebroot: "/proc/none/standard", HTTPPort: port, ProxyPort: port,
		Hook: func(context.Context, string, []string, []byte, map[string]string, *os.File) (bool, error) {
			return false, nil
		},
	})
	must(t, err)
	id, ch := challengetest.New("www.example.com")
	err = h.Present(t.Context(), id, ch)
	if err == nil {
		t.Fatal("Present: got no error")
	}
	for _, want := range []string{
		"present http-01 challenge for www.example.com: webroot /proc/none/www: ", "/proc/none does not exist", "webroot /proc/none/standard: ",
		fmt.Sprintf("listen 127.0.0.1:%d: port %[1]d in use", port), fmt.Sprintf("listen :%d: port %[1]d in use", port), "no hook handled challenge-http-start",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error %q does not say %q", err, want)
		}
	}
	if strings.ContainsAny(err.Error(), "\n") {
		t.Errorf("the error %q is not one line", err)
	}
	if err := h.CleanUp(t.Context(), id, ch); err != nil {
		t.Errorf("CleanUp after Present failed: %v", err)
	}
}

// One of several places is enough; a spare one is not.
func TestPresentOneWorks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id, ch := challengetest.New("www.example.com")
	h, err := challenge.New(challenge.Config{Method: "webroot", Webroots: []string{"/proc/none/www", dir}, StandardWebroot: "/proc/none/x"})
	must(t, err)
	if err := h.Present(t.Context(), id, ch); err != nil {
		t.Errorf("Present where one of two webroots works: %v", err)
	}
	h, err = challenge.New(challenge.Config{Method: "webroot", Webroots: []string{"/proc/none/www"}, StandardWebroot: dir})
	must(t, err)
	if err := h.Present(t.Context(), id, ch); err == nil {
		t.Error("Present where only the standard webroot works: got no error, although others were configured")
	}
	if err := new(challenge.HTTP01).Present(t.Context(), id, ch); err == nil || !strings.Contains(err.Error(), "no method is configured") {
		t.Errorf("Present without ways: got the error %v", err)
	}
}

func TestHookProtocol(t *testing.T) {
	t.Parallel()
	hooks := &fakeHooks{}
	h := &challenge.Hook{Run: hooks.run, Target: "www-target", Env: map[string]string{"A": "b"}}
	id, ch := acme.NewIdentifier("www.example.com"), challengetest.Challenge(token)
	must(t, h.Present(t.Context(), id, ch))
	must(t, h.CleanUp(t.Context(), id, ch))
	want := []string{
		`challenge-http-start ["www.example.com" "www-target" "` + token + `"] ` + ch.KeyAuthorization + " map[A:b]",
		`challenge-http-stop ["www.example.com" "www-target" "` + token + `"] ` + ch.KeyAuthorization + " map[A:b]",
	}
	if !slices.Equal(hooks.calls, want) {
		t.Errorf("the hooks were called with\n%q, want\n%q", hooks.calls, want)
	}
}

func TestHookAnswers(t *testing.T) {
	t.Parallel()
	broken := errors.New("exit status 1")
	for _, c := range []struct {
		name    string
		handled bool
		err     error
		start   error // that Present wraps
		stop    error // that CleanUp wraps
	}{
		{"handled", true, nil, nil, nil},
		{"handled by one, another failed", true, broken, nil, broken},
		{"nobody's", false, nil, challenge.ErrUnhandled, nil},
		{"failed", false, broken, broken, broken},
	} {
		h := &challenge.Hook{Run: func(context.Context, string, []string, []byte, map[string]string, *os.File) (bool, error) {
			return c.handled, c.err
		}}
		id, ch := challengetest.New("www.example.com")
		if err := h.Present(t.Context(), id, ch); !errors.Is(err, c.start) {
			t.Errorf("%s: Present: got %v, want %v", c.name, err, c.start)
		}
		if err := h.CleanUp(t.Context(), id, ch); !errors.Is(err, c.stop) {
			t.Errorf("%s: CleanUp: got %v, want %v", c.name, err, c.stop)
		}
	}
}

func TestStatelessOtherAccount(t *testing.T) {
	t.Parallel()
	id, ch := challengetest.New("www.example.com")
	err := (&challenge.Stateless{Thumbprint: "other"}).Present(t.Context(), id, ch)
	if err == nil || !strings.Contains(err.Error(), "another account key") || strings.Contains(err.Error(), ch.KeyAuthorization) {
		t.Errorf("Present for another account: got the error %v", err)
	}
	if err := new(challenge.Stateless).Present(t.Context(), id, ch); err != nil {
		t.Errorf("Present without a known thumbprint: %v", err)
	}
}

func TestListenUsesWhatThereIs(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	r, addr := challenge.NewResponder(), freeAddr(t)
	l := &challenge.Listen{Responder: r, Addrs: []string{taken.Addr().String(), addr, "[2001:db8::77]:402"}}
	id, ch := challengetest.New("www.example.com")
	if err := l.Present(t.Context(), id, ch); err != nil {
		t.Fatalf("Present where one of three addresses is free: %v", err)
	}
	if got, found, err := overHTTP("http://" + addr)(ch.Token); !found || got != ch.KeyAuthorization {
		t.Errorf("fetch: got %q (%v)", got, err)
	}
	must(t, l.CleanUp(t.Context(), id, ch))
	if open := openPorts(r, addr); len(open) > 0 {
		t.Errorf("after CleanUp still open: %v", open)
	}
}
