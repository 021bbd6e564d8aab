package state

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"strings"
	"testing"
)

func TestAccountIDs(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	keyID, err := KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ directory, server, back string }{
		{"https://acme-v02.api.letsencrypt.org/directory", "acme-v02.api.letsencrypt.org%2fdirectory", ""},
		{"https://example.com/", "example.com", ""},
		{"https://example.com", "example.com", "https://example.com/"},
		{"https://127.0.0.1:14000/dir", "127.0.0.1%3a14000%2fdir", ""},
		{"https://[::1]:14000/dir", "%5b%3a%3a1%5d%3a14000%2fdir", ""},
		{"http://example.com/directory", "http:example.com%2fdirectory", ""},
		{"https://ca.example/a/b?x=1&y=%2F", "ca.example%2fa%2fb%3fx%3d1%26y%3d%252F", ""},
		{"https://ca.example/ä_ö-~.x", "ca.example%2f%25C3%25A4_%25C3%25B6-~.x", "https://ca.example/%C3%A4_%C3%B6-~.x"},
	}
	for _, tt := range tests {
		id, err := AccountID(tt.directory, key.Public())
		if err != nil {
			t.Errorf("account ID of %s: %v", tt.directory, err)
			continue
		}
		if want := tt.server + "/" + keyID; id != want {
			t.Errorf("account ID of %s is %q, want %q", tt.directory, id, want)
		}
		want := tt.back
		if want == "" {
			want = tt.directory
		}
		if back, err := DirectoryOf(id); err != nil || back != want {
			t.Errorf("directory of %s is %q (%v), want %q", id, back, err, want)
		}
	}
}

func TestAccountIDRefuses(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for _, directory := range []string{
		"", "ca.example", "ftp://ca.example/", "https:///x", "https://user@ca.example/", "https://ca.example/#f",
		"https://.hidden/", "https://ca.example/" + strings.Repeat("x", 300), "https://ca.example/\x00",
	} {
		if id, err := AccountID(directory, key.Public()); err == nil {
			t.Errorf("directory %q gives account ID %q, want an error", directory, id)
		}
	}
	keyID, _ := KeyID(key.Public())
	for _, id := range []string{
		"", "ca.example", keyID, "ca.example/", "ca.example/short", "/" + keyID, "../" + keyID, "ca.example%2Fdirectory/" + keyID,
		"ca.example%zz/" + keyID, "ca.example%2f/" + keyID, "ca.example/../" + keyID, "a/b/" + keyID, "%2e%2e/" + keyID,
	} {
		if directory, err := DirectoryOf(id); err == nil {
			t.Errorf("account ID %q gives directory %q, want an error", id, directory)
		}
	}
}

func TestCanonicalDirectory(t *testing.T) {
	t.Parallel()
	const v02 = "https://acme-v02.api.letsencrypt.org/directory"
	tests := []struct{ in, want string }{
		{v02, v02},
		{"https://acme-v01.api.letsencrypt.org/directory", v02},
		{"https://acme-staging.api.letsencrypt.org/directory", "https://acme-staging-v02.api.letsencrypt.org/directory"},
		{"HTTPS://ACME-V02.api.LetsEncrypt.org:443/directory", v02},
		{"https://ca.example", "https://ca.example/"},
		{"https://ca.example:8443/Dir", "https://ca.example:8443/Dir"},
		{"no URL", "no URL"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := CanonicalDirectory(tt.in); got != tt.want {
			t.Errorf("canonical form of %q is %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestKeyIDIsHashOfSPKI(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	want := strings.ToLower(strings.TrimRight(base32.StdEncoding.EncodeToString(sum[:]), "="))
	got, err := KeyID(key.Public())
	if err != nil || got != want || !isID(got) {
		t.Errorf("key ID is %q (%v), want %q", got, err, want)
	}
	if _, err := KeyID(ed25519.PublicKey(make([]byte, 32))); err == nil {
		t.Error("an Ed25519 key has an ID, and acmetool would refuse its directory")
	}
}

func TestNamesBecomePathsOnlyIfSafe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"www.example.com", "*.example.com", "example.com:ecdsa", "_xmpp.example.com", "2001:db8::1", strings.Repeat("a", 255)} {
		if err := checkLiveName(name); err != nil {
			t.Errorf("live name %q is refused: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", ".hidden", "../x", "a/b", "/etc/passwd", "a\x00b", "a\nb", "a\x1b[31m", "a\u0085b", "\xff", strings.Repeat("a", 256), "-rf", "a b", "a\u00a0b",
	} {
		if err := checkLiveName(name); err == nil {
			t.Errorf("live name %q is allowed", name)
		}
	}
	if err := checkFileName("Target 01"); err != nil {
		t.Errorf("a target file with a space in its name is refused: %v", err)
	}
	for _, id := range []string{"", "..", strings.Repeat("a", 51), strings.Repeat("a", 53), strings.Repeat("A", 52), strings.Repeat("1", 52), strings.Repeat("a", 51) + "/"} {
		if isID(id) {
			t.Errorf("%q passes for an ID", id)
		}
	}
}

func FuzzAccountID(f *testing.F) {
	key := newKey(f)
	for _, s := range []string{"https://acme-v02.api.letsencrypt.org/directory", "http://[::1]:80/", "https://h/?q=%2e%2e/", "https://%2e%2e/x", "https://h/%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, directory string) {
		id, err := AccountID(directory, key.Public())
		if err != nil {
			return
		}
		server, keyID, _ := strings.Cut(id, "/")
		if checkFileName(server) != nil || !isID(keyID) {
			t.Fatalf("directory %q gives account ID %q, which is no path <server>/<keyid>", directory, id)
		}
		back, err := DirectoryOf(id)
		if err != nil {
			t.Skip("an ID that only its maker understands") // such as a host with odd escapes: it is listed as broken
		}
		if again, err := AccountID(back, key.Public()); err != nil || again != id {
			t.Fatalf("directory %q gives %q, which gives %q, which gives %q (%v)", directory, id, back, again, err)
		}
	})
}

func FuzzLiveName(f *testing.F) {
	for _, s := range []string{"www.example.com", "../x", "a\nb", "*.example.com:rsa"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkLiveName(name) == nil && (strings.ContainsAny(name, "/\x00\n ") || name == "." || name == ".." || name == "") {
			t.Fatalf("live name %q is allowed", name)
		}
	})
}
