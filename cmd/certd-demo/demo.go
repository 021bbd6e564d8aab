package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"certd/acme/acmetest"
)

// A demo is a test CA, and a certd with a state directory of its own.
type demo struct {
	certd string
	dir   string // everything is below it
	state string
}

func run(ctx context.Context, certd string, serve bool) (err error) {
	certd, err = filepath.Abs(certd)
	if err != nil {
		return err
	}
	ca, err := acmetest.Start(acmetest.Options{Profiles: map[string]time.Duration{"default": 90 * 24 * time.Hour}})
	if err != nil {
		return fmt.Errorf("start the test CA: %w", err)
	}
	defer func() { err = errors.Join(err, ca.Close()) }()
	dir, err := os.MkdirTemp("", "certd-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{certd: certd, dir: dir, state: filepath.Join(dir, "acme")}
	if err := d.configure(ca); err != nil {
		return err
	}
	say("A test CA (Pebble) listens at %s.\nIt fetches challenges from port %d, where certd will listen. No other machine is contacted.", ca.URL(), ca.HTTPPort())
	if err := d.show(ctx); err != nil || !serve {
		return err
	}
	say("Still up. Try it from another terminal, and stop it with Ctrl-C:\n  %s --state %s want another.example.test", d.certd, d.state)
	<-ctx.Done()
	return nil
}

// configure writes what a person would: the CA, and the ports of this machine.
func (d *demo) configure(ca *acmetest.CA) error {
	bundle := filepath.Join(d.dir, "ca.pem")
	settings := fmt.Sprintf(`cas:
  - name: demo
    directory: %s
    ca-bundle: %s
challenge: {http-port: %d, resolver: %q}
`, ca.URL(), bundle, ca.HTTPPort(), ca.Resolver())
	return errors.Join(
		os.MkdirAll(filepath.Join(d.state, "conf"), 0o755),
		os.Mkdir(filepath.Join(d.dir, "hooks"), 0o755),
		os.WriteFile(bundle, ca.RootsPEM(), 0o644),
		os.WriteFile(filepath.Join(d.state, "conf", "certd.yaml"), []byte(settings), 0o644),
		os.WriteFile(filepath.Join(d.state, "conf", "target"), []byte("request:\n  challenge:\n    method: listen\n"), 0o644),
	)
}

// show runs the commands a newcomer would type.
func (d *demo) show(ctx context.Context) error {
	for _, step := range []struct {
		why  string
		args []string
	}{
		{"Two names, one certificate:", []string{"want", "www.example.test", "example.test"}},
		{"Nothing is due, so this asks the CA nothing:", []string{"reconcile"}},
		{"What comes next, and why:", []string{"plan"}},
		{"How every name stands:", []string{"status"}},
	} {
		if err := d.run(ctx, step.why, step.args...); err != nil {
			return err
		}
	}
	before, err := d.leaf("www.example.test")
	if err != nil {
		return err
	}
	if err := d.run(ctx, "A renewal, before its time:", "reconcile", "--force", "www.example.test"); err != nil {
		return err
	}
	after, err := d.leaf("www.example.test")
	if err != nil {
		return err
	}
	if before.SerialNumber.Cmp(after.SerialNumber) == 0 {
		return errors.New("the renewal left the old certificate live")
	}
	say("What servers read:")
	if err := d.tree(filepath.Join(d.state, "live")); err != nil {
		return err
	}
	fmt.Printf("\nsubject alternative names: %s\nissuer: %s\nserial: %x (was %x)\nvalid: %s to %s\n", strings.Join(after.DNSNames, " "),
		after.Issuer.CommonName, after.SerialNumber, before.SerialNumber, after.NotBefore.Format(time.RFC3339), after.NotAfter.Format(time.RFC3339))
	return nil
}

// run runs certd as a person would, with its output shown.
func (d *demo) run(ctx context.Context, why string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	say("%s\n$ certd %s", why, strings.Join(args, " "))
	global := []string{"--state", d.state, "--hooks", filepath.Join(d.dir, "hooks"), "--log-level", "warn"}
	cmd := exec.CommandContext(ctx, d.certd, append(global, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("certd %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

func (d *demo) leaf(name string) (*x509.Certificate, error) {
	data, err := os.ReadFile(filepath.Join(d.state, "live", name, "cert"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("live/%s/cert holds no PEM", name)
	}
	return x509.ParseCertificate(block.Bytes)
}

// tree prints live/ with where its links lead.
func (d *demo) tree(live string) error {
	entries, err := os.ReadDir(live)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(live, e.Name())
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		fmt.Printf("live/%s -> %s\n", e.Name(), to)
		files, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, f := range files {
			info, err := os.Stat(filepath.Join(path, f.Name()))
			if errors.Is(err, fs.ErrNotExist) || (err == nil && info.IsDir()) {
				continue
			}
			if err != nil {
				return err
			}
			fmt.Printf("  %s %6d  %s\n", info.Mode(), info.Size(), f.Name())
		}
	}
	return nil
}

func say(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }
