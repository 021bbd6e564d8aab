package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"certd/acme/acmetest"
)

// TestQuickstartScripts runs the unattended quickstart as a process of its own.
func TestQuickstartScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/quickstart",
		Setup: func(env *testscript.Env) error {
			env.Setenv("CERTD_STATE_DIR", filepath.Join(env.WorkDir, "acme"))
			env.Setenv("ACME_HOOKS_DIR", filepath.Join(env.WorkDir, "hooks"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"newca":       cmdNewCA,
			"letsencrypt": cmdLetsEncrypt,
			"contains":    cmdContains,
			"tree":        cmdTree,
			"secret":      cmdSecret,
		},
	})
}

// cmdNewCA starts a CA that nobody has configured: newca [eab]. It sets CA_URL,
// puts the CA's root into ca.pem, has the terms of service that the file terms names, and tells certd.yaml only where challenges go.
func cmdNewCA(ts *testscript.TestScript, _ bool, args []string) {
	options := acmetest.Options{Profiles: map[string]time.Duration{"classic": 90 * 24 * time.Hour, "short": 6 * 24 * time.Hour}}
	terms := ts.MkAbs("terms") // a file with the URL of the terms, which a script can change
	options.Wrap = acmetest.Terms(func() string {
		data, _ := os.ReadFile(terms)
		return strings.TrimSpace(string(data))
	})
	if len(args) > 0 {
		options.RequireEAB = map[string]string{"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}
	}
	ca, err := acmetest.Start(options)
	ts.Check(err)
	ts.Defer(func() { ts.Check(ca.Close()) })
	ts.Setenv("CA_URL", ca.URL())
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), ca.RootsPEM(), 0o644))
	conf := filepath.Join(ts.Getenv("CERTD_STATE_DIR"), "conf")
	ts.Check(os.MkdirAll(conf, 0o755))
	settings := fmt.Sprintf("# private network\nchallenge: {http-port: %d, resolver: %q}\n", ca.HTTPPort(), ca.Resolver())
	ts.Check(os.WriteFile(filepath.Join(conf, "certd.yaml"), []byte(settings), 0o644))
	for _, file := range []string{"answers.yaml", "more.yaml"} { // txtar files know neither URL nor path
		if data, err := os.ReadFile(ts.MkAbs(file)); err == nil {
			text := strings.NewReplacer("$CA_URL", ca.URL(), "$WORK", ts.Getenv("WORK")).Replace(string(data))
			ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o644))
		}
	}
}

// cmdSecret writes the HMAC key of newca eab: secret FILE
func cmdSecret(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n"), 0o600))
}

// cmdTree writes names, modes and contents of everything below directories into
// a file: tree FILE DIR...
func cmdTree(ts *testscript.TestScript, _ bool, args []string) {
	var out strings.Builder
	for _, dir := range args[1:] {
		out.WriteString(treeOf(ts.MkAbs(dir)))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out.String()), 0o644))
}

// treeOf is everything below a directory as text; empty if there is none.
func treeOf(dir string) string {
	var out strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		data := ""
		if info.Mode().IsRegular() {
			content, _ := os.ReadFile(path)
			data = fmt.Sprintf("%q", content)
		}
		fmt.Fprintln(&out, info.Mode(), path, data)
		return nil
	})
	return out.String()
}

// cmdLetsEncrypt puts a test CA where Let's Encrypt's staging CA is, behind a
// proxy that the processes of the script use, so that a response file with its
// real URL does what it says.
func cmdLetsEncrypt(ts *testscript.TestScript, _ bool, _ []string) {
	ca, err := acmetest.Start(acmetest.Options{})
	ts.Check(err)
	ts.Defer(func() { ts.Check(ca.Close()) })
	target, err := url.Parse(ca.URL())
	ts.Check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.RootsPEM())
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			if r.In.URL.Path == "/directory" {
				r.Out.URL.Path = target.Path
			}
		},
	})
	certificate, err := selfSigned("acme-staging-v02.api.letsencrypt.org")
	ts.Check(err)
	front.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	front.StartTLS()
	ts.Defer(front.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnel(w, r, front.Listener.Addr().String())
	}))
	ts.Defer(proxy.Close)
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	ts.Check(os.WriteFile(ts.MkAbs("le.pem"), root, 0o644))
	ts.Setenv("SSL_CERT_FILE", ts.MkAbs("le.pem"))
	ts.Setenv("HTTPS_PROXY", proxy.URL)
}

// tunnel answers CONNECT with a connection to addr.
func tunnel(w http.ResponseWriter, r *http.Request, addr string) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	back, err := net.Dial("tcp", addr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer back.Close()
	front, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer front.Close()
	fmt.Fprint(front, "HTTP/1.1 200 OK\r\n\r\n")
	var both sync.WaitGroup
	both.Go(func() { io.Copy(back, front); back.Close() })
	both.Go(func() { io.Copy(front, back); front.Close() })
	both.Wait()
}

func selfSigned(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
