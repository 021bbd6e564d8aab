package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"certd/acme/acmetest"
)

// An arena is what all clients share: the CA, the web server that answers its
// challenges, and the environment that makes programs trust it.
type arena struct {
	ca      *acmetest.CA
	dir     string
	webroot string // served on the port where the CA validates
	roots   string // PEM file with the CA's root
	private bool   // the CA is among the system's
	server  *http.Server
	served  chan struct{}
	env     []string
	timer   string // path of GNU time; empty if it is not installed
	certd   string // path of the program
	homes   int
}

// systemBundle is where Debian's programs look for CAs.
const systemBundle = "/etc/ssl/certs/ca-certificates.crt"

func newArena(o Options) (a *arena, err error) {
	a = &arena{private: o.Private, served: make(chan struct{})}
	if a.dir, err = os.MkdirTemp(o.Dir, "certd-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.ca, err = acmetest.Start(acmetest.Options{Wrap: withoutUnknown}); err != nil {
		return a, err
	}
	a.webroot = filepath.Join(a.dir, "webroot")
	a.roots = filepath.Join(a.dir, "roots.pem")
	err = errors.Join(os.MkdirAll(a.challenges(), 0o755), os.WriteFile(a.roots, a.ca.RootsPEM(), 0o644))
	if err != nil {
		return a, err
	}
	if o.Private {
		if err := a.trustInSystem(); err != nil {
			return a, err
		}
	}
	a.env = append(os.Environ(), "SSL_CERT_FILE="+a.roots, "REQUESTS_CA_BUNDLE="+a.roots, "LEGO_CA_CERTIFICATES="+a.roots,
		"CURL_CA_BUNDLE="+a.roots, "HOME="+a.dir, "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=dumb")
	a.timer = find("time")
	return a, a.serve()
}

// withoutUnknown takes challenges without token out of authorizations: uacme
// gives up when it meets Pebble's dns-persist-01.
func withoutUnknown(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/authZ/") {
			next.ServeHTTP(w, r)
			return
		}
		b := &buffer{header: w.Header(), status: http.StatusOK}
		next.ServeHTTP(b, r)
		body := b.Bytes()
		var authz map[string]any
		if json.Unmarshal(body, &authz) == nil {
			if all, ok := authz["challenges"].([]any); ok {
				var kept []any
				for _, c := range all {
					if challenge, ok := c.(map[string]any); ok && challenge["token"] != nil {
						kept = append(kept, c)
					}
				}
				authz["challenges"] = kept
				if changed, err := json.Marshal(authz); err == nil {
					body = changed
				}
			}
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(b.status)
		_, _ = w.Write(body) // the client is gone if this fails
	})
}

// A buffer holds an answer back.
type buffer struct {
	bytes.Buffer
	header http.Header
	status int
}

func (b *buffer) Header() http.Header    { return b.header }
func (b *buffer) WriteHeader(status int) { b.status = status }

// challenges is the directory for challenge files.
func (a *arena) challenges() string { return filepath.Join(a.webroot, ".well-known", "acme-challenge") }

// trustInSystem puts the CA's root among the system's, for this process and what
// it starts.
func (a *arena) trustInSystem() error {
	system, err := os.ReadFile(systemBundle)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err != nil {
		a.private = false // nothing to mount over
		return nil
	}
	bundle := filepath.Join(a.dir, "system.pem")
	if err := os.WriteFile(bundle, append(system, a.ca.RootsPEM()...), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := syscall.Mount(bundle, systemBundle, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount over %s: %w", systemBundle, err)
	}
	return nil
}

func (a *arena) serve() error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(a.ca.HTTPPort())))
	if err != nil {
		return err
	}
	a.server = &http.Server{Handler: http.FileServer(http.Dir(a.webroot)), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(a.served)
		_ = a.server.Serve(l) // until closed
	}()
	return nil
}

func (a *arena) close() error {
	var err error
	if a.server != nil {
		err = a.server.Close()
		<-a.served
	}
	if a.ca != nil {
		err = errors.Join(err, a.ca.Close())
	}
	return errors.Join(err, os.RemoveAll(a.dir))
}

// A home is a directory of one client for one measurement.
type home struct {
	*arena
	dir string
}

func (a *arena) home(client string) (*home, error) {
	a.homes++
	h := &home{arena: a, dir: filepath.Join(a.dir, fmt.Sprintf("%s-%d", client, a.homes))}
	return h, os.Mkdir(h.dir, 0o755)
}

func (h *home) path(elem ...string) string {
	return filepath.Join(append([]string{h.dir}, elem...)...)
}

// write makes a file below the home, and the directories it needs.
func (h *home) write(name, text string) error {
	file := h.path(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// link makes a symbolic link below the home.
func (h *home) link(name, to string) error {
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		return err
	}
	return os.Symlink(to, h.path(name))
}

// machine says on what it is measured: number and kind of processors, memory.
func machine() string {
	kind, count := "", 0
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "processor":
			count++
		case "model name":
			kind = strings.TrimSpace(value)
		}
	}
	var info syscall.Sysinfo_t
	_ = syscall.Sysinfo(&info) // else 0
	return fmt.Sprintf("%d CPUs (%s), %d GB of memory", count, cmp.Or(kind, "unknown"), uint64(info.Totalram)*uint64(info.Unit)>>30)
}
