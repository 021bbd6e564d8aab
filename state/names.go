package state

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// idLength is the length of an ID: the 32 bytes of SHA-256 in base32.
const idLength = 52

// CertID returns the ID of the certificate of an order: lower-case unpadded
// base32 of the SHA-256 of the order URL.
func CertID(url string) string {
	return hashID([]byte(url))
}

// KeyID returns the ID of a key: lower-case unpadded base32 of the SHA-256 of
// its SubjectPublicKeyInfo. Keys other than RSA and ECDSA are an error, because
// no public CA takes them and acmetool cannot read them.
func KeyID(pub crypto.PublicKey) (string, error) {
	switch pub.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
	default:
		return "", fmt.Errorf("key of type %T: only RSA and ECDSA keys are kept", pub)
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	return hashID(spki), nil
}

func hashID(data []byte) string {
	sum := sha256.Sum256(data)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// isID reports whether s has the form of a certificate or key ID.
func isID(s string) bool {
	if len(s) != idLength {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// AccountID returns the ID of the account with this key at the CA with this
// directory URL: the URL without "https://" (for plain http with "http:" in
// front) and without a path of just "/", percent-encoded with lower-case
// digits, then "/" and the key ID.
func AccountID(directory string, key crypto.PublicKey) (string, error) {
	server, err := serverName(directory)
	if err != nil {
		return "", err
	}
	id, err := KeyID(key)
	if err != nil {
		return "", err
	}
	return server + "/" + id, nil
}

func serverName(directory string) (string, error) {
	u, err := url.Parse(directory)
	if err != nil {
		return "", fmt.Errorf("directory URL: %w", err)
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", fmt.Errorf("directory URL %q: want https://host/path", directory)
	}
	s := strings.TrimPrefix(u.String(), u.Scheme+"://")
	if u.Path == "/" && u.RawQuery == "" {
		s = strings.TrimSuffix(s, "/")
	}
	s = lowerEscapes(url.QueryEscape(s))
	if u.Scheme == "http" {
		s = "http:" + s
	}
	if err := checkFileName(s); err != nil {
		return "", fmt.Errorf("directory URL %q makes no directory name: %w", directory, err)
	}
	return s, nil
}

// lowerEscapes turns %2F into %2f and leaves everything else alone.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
			i += 2
		}
	}
	return string(b)
}

// DirectoryOf returns the directory URL that an account ID was made from.
func DirectoryOf(accountID string) (string, error) {
	server, keyID, ok := strings.Cut(accountID, "/")
	if !ok || !isID(keyID) {
		return "", fmt.Errorf("account ID %q: want <server>/<keyid>", accountID)
	}
	scheme := "https"
	if rest, ok := strings.CutPrefix(server, "http:"); ok {
		scheme, server = "http", rest
	}
	plain, err := url.QueryUnescape(server)
	if err != nil {
		return "", fmt.Errorf("account ID %q: %w", accountID, err)
	}
	u, err := url.Parse(scheme + "://" + plain)
	if err != nil {
		return "", fmt.Errorf("account ID %q: %w", accountID, err)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	directory := u.String()
	if back, err := serverName(directory); err != nil || back+"/"+keyID != accountID {
		return "", fmt.Errorf("account ID %q is not the encoding of a directory URL", accountID)
	}
	return directory, nil
}

// CanonicalDirectory returns a form of a directory URL to compare CAs by: scheme
// and host in lower case, no default port, a path at least "/", and Let's
// Encrypt's first API (ACME before RFC 8555, gone since 2021) as its second. It
// is not for sending requests to. Text that is no URL is returned unchanged.
func CanonicalDirectory(directory string) string {
	u, err := url.Parse(directory)
	if err != nil || u.Host == "" {
		return directory
	}
	u.Host = strings.ToLower(u.Host)
	if port := u.Port(); (u.Scheme == "https" && port == "443") || (u.Scheme == "http" && port == "80") {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	switch u.Host {
	case "acme-v01.api.letsencrypt.org":
		u.Host = "acme-v02.api.letsencrypt.org"
	case "acme-staging.api.letsencrypt.org":
		u.Host = "acme-staging-v02.api.letsencrypt.org"
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String()
}

// checkFileName returns why s cannot be the name of a file in the state
// directory: 1 to 255 bytes of UTF-8 without slash and control characters, and
// not hidden.
func checkFileName(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: empty name", fs.ErrInvalid)
	case len(s) > 255:
		return fmt.Errorf("%w: name of %d bytes, at most 255 fit", fs.ErrInvalid, len(s))
	case s[0] == '.':
		return fmt.Errorf("%w: name %q is hidden", fs.ErrInvalid, s)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: name %q is not UTF-8", fs.ErrInvalid, s)
	case strings.ContainsRune(s, '/'):
		return fmt.Errorf("%w: name %q contains a slash", fs.ErrInvalid, s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%w: name %q contains a control character", fs.ErrInvalid, s)
	}
	return nil
}

// checkLiveName is checkFileName for live/, whose names go to hooks one a line.
func checkLiveName(s string) error {
	if err := checkFileName(s); err != nil {
		return err
	}
	if s[0] == '-' {
		return fmt.Errorf("%w: name %q begins with a dash", fs.ErrInvalid, s)
	}
	if strings.ContainsFunc(s, unicode.IsSpace) {
		return fmt.Errorf("%w: name %q contains a space", fs.ErrInvalid, s)
	}
	return nil
}

func checkID(kind, id string) error {
	if !isID(id) {
		return fmt.Errorf("%w: %q is no %s ID (52 characters a-z and 2-7)", fs.ErrInvalid, id, kind)
	}
	return nil
}

// KeyType names the algorithm and size of a public key, such as "ecdsa-p256";
// empty if nobody here knows it.
func KeyType(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ecdsa-" + strings.ToLower(strings.ReplaceAll(k.Curve.Params().Name, "-", ""))
	case ed25519.PublicKey:
		return "ed25519"
	}
	return ""
}
