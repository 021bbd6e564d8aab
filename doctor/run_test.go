package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/config"
	"certd/doctor"
	"certd/hooks"
	"certd/state"

	"github.com/letsencrypt/challtestsrv"
)

// A bench is a state directory whose only CA is a real one.
type bench struct {
	t   *testing.T
	ca  *acmetest.CA
	dir string
}

func newBench(t *testing.T, o acmetest.Options) *bench {
	t.Helper()
	b := &bench{t: t, ca: acmetest.StartT(t, o), dir: filepath.Join(t.TempDir(), "acme")}
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, b.ca.RootsPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	b.write("conf/certd.yaml", fmt.Sprintf("cas:\n  - {name: testca, directory: %q, ca-bundle: %q}\nchallenge: {http-port: %d, tls-port: %d, resolver: %q}\n",
		b.ca.URL(), bundle, b.ca.HTTPPort(), b.ca.TLSPort(), b.ca.Resolver()))
	b.write("conf/target", "request: {challenge: {method: listen}}\n")
	return b
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// run examines, and sees to it that the state directory stays as it was and
// that nothing was ordered or registered.
func (b *bench) run(names ...string) []doctor.Finding {
	b.t.Helper()
	before := b.tree()
	b.ca.ResetRequests()
	found := doctor.Run(b.t.Context(), doctor.Options{StateDir: b.dir, Names: names, Limit: time.Nanosecond, Hooks: &hooks.Runner{}, Webroot: b.t.TempDir()})
	if after := b.tree(); !slices.Equal(before, after) {
		b.t.Errorf("the state directory was changed from %q to %q", before, after)
	}
	if n := acmetest.Count(b.ca.Requests(), "order"); n > 0 {
		b.t.Errorf("%d orders", n)
	}
	return found
}

// tree is every file below the state directory, with mode, time and content.
func (b *bench) tree() []string {
	b.t.Helper()
	var out []string
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out = append(out, fmt.Sprintf("%s %s %d %s", path, info.Mode(), info.Size(), info.ModTime()))
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	return out
}

// want checks that there is a finding of this check with this result, whose
// detail or remedy contains text.
func (b *bench) want(found []doctor.Finding, check string, result doctor.Result, text string) {
	b.t.Helper()
	for _, f := range found {
		if f.Check == check && f.Result == result && strings.Contains(f.Detail+" -> "+f.Remedy, text) {
			if (f.Remedy == "") != (result == doctor.OK) {
				b.t.Errorf("%s is %s with the remedy %q", check, result, f.Remedy)
			}
			return
		}
	}
	b.t.Errorf("no %s of %q with %q in %+v", result, check, text, found)
}

func (b *bench) failures(found []doctor.Finding) (n int) {
	for _, f := range found {
		if f.Result == doctor.Failure {
			n++
		}
	}
	return n
}

// TestReady: on a machine where a certificate would be issued, nothing fails.
func TestReady(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	b.write("desired/www.example.test", "")
	b.ca.DNS().AddDNSCAARecord("example.test.", []challtestsrv.CAAPolicy{{Tag: "issue", Value: "pebble.letsencrypt.org"}})
	six, err := net.Listen("tcp", "[::1]:0") // where this machine has IPv6
	if err == nil {
		_ = six.Close()
		b.ca.DNS().AddDNSAAAARecord("www.example.test.", []string{"::1"})
	}
	found := b.run()
	if n := b.failures(found); n > 0 {
		t.Errorf("%d failures: %+v", n, found)
	}
	for check, text := range map[string]string{
		"state directory": b.dir, "configuration": "1", "ca": b.ca.URL(), "account": "none yet", "clock": "the CA's",
		"dns": "127.0.0.1", "caa": "example.test", "http-01 ipv4": "1",
		fmt.Sprintf("port %d", b.ca.HTTPPort()): "free",
	} {
		b.want(found, check, doctor.OK, text)
	}
	if six != nil {
		b.want(found, "http-01 ipv6", doctor.OK, "1")
	}
	b.want(found, "hooks", doctor.Warning, "certd hooks install")
	if n := acmetest.Count(b.ca.Requests(), "account"); n > 0 {
		t.Errorf("%d account requests without an account", n)
	}
	if ln, err := net.Listen("tcp", fmt.Sprintf(":%d", b.ca.HTTPPort())); err != nil {
		t.Errorf("the port is still held: %v", err)
	} else {
		_ = ln.Close()
	}
}

// TestNames: what can be wrong with one name does not touch the others.
func TestNames(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	d := b.ca.DNS()
	d.AddDNSServFailRecord("broken.example.test.")
	d.AddDNSCAARecord("strict.example.test.", []challtestsrv.CAAPolicy{{Tag: "issue", Value: "other.test"}})
	d.AddDNSCAARecord("alpn.example.test.", []challtestsrv.CAAPolicy{{Tag: "issue", Value: "pebble.letsencrypt.org; validationmethods=tls-alpn-01"}})
	d.AddDNSAAAARecord("six.example.test.", []string{"2001:db8::1"})
	for _, tt := range []struct {
		name, check string
		result      doctor.Result
		text        string
	}{
		{"broken.example.test", "dns", doctor.Failure, "SERVFAIL"},
		{"broken.example.test", "caa", doctor.Failure, "SERVFAIL"},
		{"strict.example.test", "caa", doctor.Failure, `CAA 0 issue "pebble.letsencrypt.org"`},
		{"strict.example.test", "http-01 ipv4", doctor.OK, ""},
		{"below.strict.example.test", "caa", doctor.Failure, "strict.example.test does not let testca"},
		{"alpn.example.test", "caa", doctor.Warning, "not by http-01, which is tried first"},
		{"six.example.test", "http-01 ipv4", doctor.OK, ""},
		{"six.example.test", "http-01 ipv6", doctor.Warning, "remove the record"},
		{"*.example.test", "method", doctor.Failure, "dns-provider"},
		{"127.0.0.1", "http-01 ipv4", doctor.OK, ""},
	} {
		t.Run(tt.name+" "+tt.check, func(t *testing.T) {
			b := &bench{t: t, ca: b.ca, dir: b.dir}
			b.want(b.run(tt.name), tt.check, tt.result, tt.text)
		})
	}
}

// TestPortTaken: who stands in the way is told, and an answer that is wrong.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", b.ca.HTTPPort()))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	found := b.run("www.example.test")
	b.want(found, "http-01", doctor.Warning, "in use")
	b.want(found, "http-01", doctor.Warning, "doctor.test")
	b.want(found, "tls-alpn-01", doctor.OK, "without http-01")
	b.want(found, fmt.Sprintf("port %d", b.ca.HTTPPort()), doctor.Warning, "doctor.test")
	b.want(found, fmt.Sprintf("port %d", b.ca.TLSPort()), doctor.OK, "free")
	tls, err := net.Listen("tcp", fmt.Sprintf(":%d", b.ca.TLSPort()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tls.Close() })
	found = b.run("www.example.test")
	b.want(found, "http-01", doctor.Failure, "in use")
	b.want(found, "tls-alpn-01", doctor.Warning, "in use")
	b.want(found, fmt.Sprintf("port %d", b.ca.HTTPPort()), doctor.Failure, "needs one of them")
	b.want(found, fmt.Sprintf("port %d", b.ca.TLSPort()), doctor.OK, "doctor.test")
	webroot := t.TempDir()
	b.write("conf/target", fmt.Sprintf("request: {challenge: {method: webroot, webroot-paths: [%q]}}\n", webroot))
	found = b.run("www.example.test")
	b.want(found, "http-01 ipv4", doctor.Failure, "404")
	b.want(found, "http-01 ipv4", doctor.Failure, webroot)
	if files, _ := os.ReadDir(webroot); len(files) > 0 {
		t.Errorf("%d files were left in the webroot", len(files))
	}
	b.write("conf/target", fmt.Sprintf("request: {challenge: {method: webroot, webroot-paths: [%q], http-self-test: false}}\n", webroot))
	b.want(b.run("www.example.test"), "http-01 ipv4", doctor.Warning, "http-self-test is off")
	b.write("conf/target", "request: {challenge: {method: stateless}}\n")
	b.want(b.run("www.example.test"), "http-01", doctor.Warning, "no account")
}

// TestAccount: an account key is known to the CA, or not, or damaged.
func TestAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	account := &state.Account{Directory: b.ca.URL(), Key: key}
	save := func() {
		if err := store.SaveAccount(account); err != nil {
			t.Fatal(err)
		}
	}
	save()
	b.want(b.run("www.example.test"), "account", doctor.OK, "first order registers")
	account.URL = strings.TrimSuffix(b.ca.URL(), "/dir") + "/my-account/nobody"
	save()
	b.want(b.run("www.example.test"), "account", doctor.Failure, "any more")
	client, err := acme.New(acme.Options{Directory: b.ca.URL(), Key: key, RootsPEM: b.ca.RootsPEM()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	made, err := client.Register(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.run("www.example.test"), "account", doctor.Warning, made.URL)
	account.URL = made.URL
	save()
	b.want(b.run("www.example.test"), "account", doctor.OK, "known to the CA")
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(b.dir, "accounts", account.ID, "privkey")
	if err := os.Chmod(keyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	b.want(b.run("www.example.test"), "private keys", doctor.Failure, account.ID)
	if err := os.WriteFile(keyFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.want(b.run("www.example.test"), "account", doctor.Failure, "backup")
}

// TestInterrupted: whoever presses Ctrl-C leaves no answer behind.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{})
	webroot := t.TempDir()
	b.write("conf/target", fmt.Sprintf("request: {challenge: {method: webroot, webroot-paths: [%q]}}\n", webroot))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		doctor.Run(ctx, doctor.Options{StateDir: b.dir, Names: []string{"www.example.test"}, Webroot: t.TempDir(), Limit: time.Hour})
	}()
	files := func() int {
		list, err := os.ReadDir(webroot)
		if err != nil {
			t.Error(err)
		}
		return len(list)
	}
	for files() == 0 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if n := files(); n > 0 {
		t.Errorf("%d files were left in the webroot", n)
	}
}

// TestExternalAccount: a CA that wants a binding says so before an order does.
func TestExternalAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t, acmetest.Options{RequireEAB: map[string]string{"kid": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}})
	b.want(b.run("www.example.test"), "account", doctor.Failure, "eab.kid")
}

// TestMachine: what is wrong with this machine is told without any CA.
func TestMachine(t *testing.T) {
	t.Parallel()
	t.Run("nothing there", func(t *testing.T) {
		t.Parallel()
		b := &bench{t: t, ca: acmetest.StartT(t, acmetest.Options{}), dir: filepath.Join(t.TempDir(), "none")}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // no CA is waited for
		b.want(doctor.Run(ctx, doctor.Options{StateDir: b.dir}), "state directory", doctor.Warning, "does not exist")
	})
	t.Run("unsafe directory", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, acmetest.Options{})
		if err := os.Chmod(b.dir, 0o777); err != nil {
			t.Fatal(err)
		}
		b.want(b.run(), "state directory", doctor.Failure, "chmod go-w")
	})
	t.Run("mistakes", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, acmetest.Options{})
		b.write("desired/bad", "nonsense: [")
		b.write("desired/www.example.test", "request: {ca: [nosuch]}")
		b.write("live/odd", "not a link")
		b.write("attempts/odd.json", "nonsense")
		found := b.run()
		b.want(found, "target", doctor.Failure, "desired/bad")
		b.want(found, "target", doctor.Failure, "nosuch")
		b.want(found, "broken entries", doctor.Failure, "move it out")
		b.want(found, "broken entries", doctor.Warning, "reconcile")
		b.write("conf/certd.yaml", "nonsense: 1")
		b.want(b.run(), "configuration", doctor.Failure, "certd.yaml")
	})
	t.Run("failed before", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, acmetest.Options{})
		b.write("desired/www.example.test", "")
		targets, err := config.LoadTargets(b.dir)
		if err != nil {
			t.Fatal(err)
		}
		b.write("attempts/www.example.test.json", fmt.Sprintf(
			`{"target":"www.example.test","digest":%q,"failures":3,"class":"wait","last_error":"slow down","next_attempt":"2099-01-01T00:00:00Z"}`, targets.Targets[0].Digest()))
		b.want(b.run(), "limits", doctor.Warning, "slow down")
		b.want(b.run(), "limits", doctor.Warning, "left alone")
		b.write("attempts/gone.json", `{"target":"gone","failures":2,"last_error":"of old"}`)
		for _, f := range b.run() {
			if f.Check == "limits" && f.Name == "gone" {
				t.Errorf("a target that is gone: %+v", f)
			}
		}
	})
	t.Run("hook that others may change", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, acmetest.Options{})
		dir := t.TempDir()
		hook := filepath.Join(dir, "reload")
		if err := os.WriteFile(hook, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		run := func() []doctor.Finding {
			return doctor.Run(t.Context(), doctor.Options{StateDir: b.dir, Hooks: &hooks.Runner{Dirs: []string{dir}}})
		}
		b.want(run(), "hooks", doctor.OK, hook)
		if err := os.Chmod(hook, 0o777); err != nil {
			t.Fatal(err)
		}
		b.want(run(), "hooks", doctor.Failure, "chmod")
	})
}
