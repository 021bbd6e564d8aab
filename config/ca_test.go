package config

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// internal is an entry of cas.
func internal() CA { return CA{Name: "internal", Directory: "https://ca.internal/acme/directory"} }

func TestCA(t *testing.T) {
	t.Parallel()
	const le, leStaging = "https://acme-v02.api.letsencrypt.org/directory", "https://acme-staging-v02.api.letsencrypt.org/directory"
	mine := CA{Name: "letsencrypt", Directory: "https://mirror.internal/le"}
	for _, tt := range []struct {
		name            string
		cas             []CA
		ask             string
		nick, directory string
	}{
		{"default", nil, "", "letsencrypt", le},
		{"default is the first entry", []CA{internal(), mine}, "", "internal", internal().Directory},
		{"entry by name", []CA{mine, internal()}, "internal", "internal", internal().Directory},
		{"entry by URL", []CA{mine, internal()}, internal().Directory, "internal", internal().Directory},
		{"entry replaces a built-in", []CA{internal(), mine}, "letsencrypt", "letsencrypt", mine.Directory},
		{"built-in by name", []CA{internal()}, "letsencrypt-staging", "letsencrypt-staging", leStaging},
		{"built-in by URL", []CA{internal()}, leStaging, "letsencrypt-staging", leStaging},
		{"v01", nil, "https://acme-v01.api.letsencrypt.org/directory", "letsencrypt", le},
		{"v01 staging", nil, "https://acme-staging.api.letsencrypt.org/directory", "letsencrypt-staging", leStaging},
		{"unknown URL", nil, "https://other.internal:14000/dir", "other.internal:14000", "https://other.internal:14000/dir"},
		{"google", nil, "google-test", "google-test", "https://dv.acme-v02.test-api.pki.goog/directory"},
	} {
		s := &Settings{CAs: tt.cas}
		got, err := s.CA(tt.ask)
		if err != nil || got.Name != tt.nick || got.Directory != tt.directory {
			t.Errorf("%s: got %+v, %v; want %s at %s", tt.name, got, err, tt.nick, tt.directory)
		}
	}
}

func TestCARefuses(t *testing.T) {
	t.Parallel()
	s := &Settings{CAs: []CA{internal()}}
	for _, tt := range []struct{ ask, reason string }{
		{"letsencrpyt", "did you mean letsencrypt?"},
		{"buypass", "known are internal, letsencrypt, letsencrypt-staging, zerossl"},
		{"http://ca.internal/dir", "is not https"},
		{"https:///dir", "is no URL"},
		{"https://u:p@ca.internal/dir", "user name"},
		{"a/b", "is no URL"},
	} {
		if got, err := s.CA(tt.ask); err == nil || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("CA(%q): got %+v, %v; want an error with %q", tt.ask, got, err, tt.reason)
		}
	}
}

func TestBuiltinCAs(t *testing.T) {
	t.Parallel()
	s := &Settings{}
	for _, b := range builtin() {
		if _, err := nickname(b.Name); err != nil {
			t.Error(err)
		}
		if got, err := s.CA(b.Directory); err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("%s by its URL: got %+v, %v", b.Name, got, err)
		}
		if strings.Contains(b.Directory, "buypass") {
			t.Error("Buypass issues no more since 2025-10-31")
		}
	}
}

func TestEntryCompletesBuiltin(t *testing.T) {
	t.Parallel()
	s, err := ParseSettings("conf/certd.yaml", []byte("cas:\n- name: zerossl\n  eab: {kid: k, hmac-file: /etc/certd/eab}\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.CA("zerossl")
	if err != nil || got.Directory != "https://acme.zerossl.com/v2/DV90" || got.EABKeyID != "k" {
		t.Errorf("got %+v, %v; want the built-in directory and the EAB of the file", got, err)
	}
}

func TestCheckCAs(t *testing.T) {
	t.Parallel()
	s := &Settings{CAs: []CA{internal()}}
	if err := s.CheckCAs(&Target{File: "x", CAs: []string{"internal", "zerossl", "https://new.internal/dir"}}); err != nil {
		t.Errorf("known CAs: got %v", err)
	}
	err := s.CheckCAs(&Target{File: "x", CAs: []string{"intrenal", "zerossl", "zebra"}})
	if err == nil || !strings.Contains(err.Error(), "desired/x: request.ca: no CA is called \"intrenal\"; did you mean internal?") || len(split(err)) != 2 {
		t.Errorf("unknown CAs: got %v", err)
	}
}

func TestEAB(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{0xfb, 0xff}, 16)
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		fails      string
	}{
		{"plain", base64.RawURLEncoding.EncodeToString(key), 0o600, ""},
		{"padded, with a line end", base64.URLEncoding.EncodeToString(key) + "\r\n", 0o640, ""},
		{"others may read", base64.RawURLEncoding.EncodeToString(key), 0o604, "run chmod 0600"},
		{"group may write", base64.RawURLEncoding.EncodeToString(key), 0o620, "run chmod 0600"},
		{"empty", "", 0o600, "does not hold a base64url MAC key"},
		{"too short", "AAAA", 0o600, "does not hold a base64url MAC key"},
		{"not base64url", strings.Repeat("+/", 32), 0o600, "does not hold a base64url MAC key"},
		{"too large", strings.Repeat("A", 5000), 0o600, "is larger than 4096 bytes"},
	} {
		path := filepath.Join(t.TempDir(), "eab")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		kid, hmac, err := CA{Name: "x", EABKeyID: "kid", EABHMACFile: path}.EAB()
		switch {
		case tt.fails == "" && (err != nil || kid != "kid" || !bytes.Equal(hmac, key)):
			t.Errorf("%s: got %q, %x, %v", tt.name, kid, hmac, err)
		case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.fails)
		case err != nil && len(tt.text) > 3 && strings.Contains(err.Error(), tt.text):
			t.Errorf("%s: the error %q gives the key away", tt.name, err)
		}
	}
	if kid, hmac, err := (CA{Name: "x"}).EAB(); kid != "" || hmac != nil || err != nil {
		t.Errorf("without EAB: got %q, %x, %v", kid, hmac, err)
	}
}

// TestFilesThatAreNone: nothing waits for a pipe or reads a directory.
func TestFilesThatAreNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, reason := range map[string]string{dir: "is a directory", pipe: "is no regular file", filepath.Join(dir, "none"): "no such file"} {
		if _, _, err := (CA{EABKeyID: "k", EABHMACFile: path}).EAB(); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("hmac-file %s: got %v, want %q", path, err, reason)
		}
		if _, err := (CA{Bundle: path}).RootsPEM(); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("ca-bundle %s: got %v, want %q", path, err, reason)
		}
	}
}

func TestRootsPEM(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pem := "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
	write(t, dir, "good.pem", pem)
	write(t, dir, "key.pem", "-----BEGIN EC PRIVATE KEY-----\n")
	if got, err := (CA{Bundle: filepath.Join(dir, "good.pem")}).RootsPEM(); err != nil || string(got) != pem {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := (CA{Bundle: filepath.Join(dir, "key.pem")}).RootsPEM(); err == nil || !strings.Contains(err.Error(), "holds no PEM certificate") {
		t.Errorf("a bundle without certificates: got %v", err)
	}
	if got, err := (CA{}).RootsPEM(); got != nil || err != nil {
		t.Errorf("without ca-bundle: got %q, %v", got, err)
	}
}

// TestStagingOf: an entry with the staging directory is used as it is; else the
// staging directory is trusted as its CA is, and has no credentials.
func TestStagingOf(t *testing.T) {
	t.Parallel()
	const staging = "https://staging.internal/acme/directory"
	with := CA{Name: "internal", Directory: "https://ca.internal/acme/directory", Staging: staging, Bundle: "/etc/roots.pem", EABKeyID: "kid", EABHMACFile: "/etc/hmac"}
	entry := CA{Name: "rehearsal", Directory: staging, EABKeyID: "other", EABHMACFile: "/etc/other"}
	itself := CA{Name: "internal", Directory: staging, Staging: staging}
	le, err := (&Settings{}).CA("letsencrypt")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cas  []CA
		of   CA
		want CA
		ok   bool
	}{
		{"without an entry", []CA{with}, with, CA{Name: "internal-staging", Directory: staging, Bundle: "/etc/roots.pem"}, true},
		{"with an entry", []CA{with, entry}, with, entry, true},
		{"a built-in CA", nil, le, CA{Name: "letsencrypt-staging", Directory: le.Staging}, true},
		{"a CA without one", []CA{internal()}, internal(), CA{}, false},
		{"a CA that is its own", []CA{itself}, itself, CA{}, false},
	} {
		got, ok := (&Settings{CAs: tt.cas}).StagingOf(tt.of)
		if ok != tt.ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %t; want %+v", tt.name, got, ok, tt.want)
		}
	}
}
