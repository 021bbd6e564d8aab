package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
)

// builtin returns the CAs that need no entry in conf/certd.yaml. An entry of
// the same name replaces them; without a directory it takes over theirs.
func builtin() []CA {
	const staging = "https://acme-staging-v02.api.letsencrypt.org/directory"
	return []CA{
		{Name: "letsencrypt", Directory: "https://acme-v02.api.letsencrypt.org/directory", Staging: staging},
		{Name: "letsencrypt-staging", Directory: staging},
		{Name: "zerossl", Directory: "https://acme.zerossl.com/v2/DV90"},
		{Name: "google", Directory: "https://dv.acme-v02.api.pki.goog/directory", Staging: "https://dv.acme-v02.test-api.pki.goog/directory"},
		{Name: "google-test", Directory: "https://dv.acme-v02.test-api.pki.goog/directory"},
		{Name: "sslcom-ecc", Directory: "https://acme.ssl.com/sslcom-dv-ecc"},
		{Name: "sslcom-rsa", Directory: "https://acme.ssl.com/sslcom-dv-rsa"},
		{Name: "actalis", Directory: "https://acme-api.actalis.com/acme/directory"},
		{Name: "sectigo", Directory: "https://acme.sectigo.com/v2/DV"},
		{Name: "globalsign", Directory: "https://emea.acme.atlas.globalsign.com/directory"},
		{Name: "digicert", Directory: "https://one.digicert.com/mpki/api/v1/acme/v2/directory"},
		{Name: "litessl", Directory: "https://acme.litessl.com/acme/v2/directory"},
		{Name: "freessl", Directory: "https://acmepro.freessl.cn/v2/DV"},
	}
}

// CA returns the CA called nameOrURL: an entry of cas, a built-in one, or the
// one with that directory URL, which need not be known and is then called by
// its host. Empty text gives the default: the first entry of cas, else
// letsencrypt. The directories of Let's Encrypt's ACMEv1 stand for those of
// ACMEv2. An unknown name is an error that lists the known ones.
func (s *Settings) CA(nameOrURL string) (CA, error) {
	if nameOrURL == "" {
		nameOrURL = "letsencrypt"
		if len(s.CAs) > 0 {
			nameOrURL = s.CAs[0].Name
		}
	}
	known := s.knownCAs()
	if strings.Contains(nameOrURL, "/") {
		return byURL(known, currentURL(nameOrURL))
	}
	var names []string
	for _, ca := range known {
		if ca.Name == nameOrURL {
			return ca, nil
		}
		names = append(names, ca.Name)
	}
	if word := nearest(nameOrURL, names); word != "" {
		return CA{}, fmt.Errorf("no CA is called %s; did you mean %s?", quote(nameOrURL), word)
	}
	return CA{}, fmt.Errorf("no CA is called %s; known are %s, and conf/certd.yaml can name others under cas", quote(nameOrURL), strings.Join(names, ", "))
}

// knownCAs returns the entries of cas, then the built-in CAs they do not replace.
func (s *Settings) knownCAs() []CA {
	known := slices.Clone(s.CAs)
	for _, b := range builtin() {
		if !slices.ContainsFunc(s.CAs, func(ca CA) bool { return ca.Name == b.Name }) {
			known = append(known, b)
		}
	}
	return known
}

// byURL returns the known CA with this directory, or a new one.
func byURL(known []CA, directory string) (CA, error) {
	if _, err := httpsURL(directory); err != nil {
		return CA{}, fmt.Errorf("CA: %w", err)
	}
	for _, ca := range known {
		if currentURL(ca.Directory) == directory {
			return ca, nil
		}
	}
	for _, ca := range known {
		if currentURL(ca.Staging) == directory {
			return CA{Name: ca.Name + "-staging", Directory: directory, Bundle: ca.Bundle}, nil
		}
	}
	u, err := url.Parse(directory)
	if err != nil {
		return CA{}, fmt.Errorf("CA %s: %w", quote(directory), err)
	}
	return CA{Name: u.Host, Directory: directory}, nil
}

// currentURL replaces Let's Encrypt's ACMEv1 directories, which acmetool's
// older files name, with those that took their place.
func currentURL(directory string) string {
	switch directory {
	case "https://acme-v01.api.letsencrypt.org/directory":
		return "https://acme-v02.api.letsencrypt.org/directory"
	case "https://acme-staging.api.letsencrypt.org/directory":
		return "https://acme-staging-v02.api.letsencrypt.org/directory"
	}
	return directory
}

// StagingOf returns the CA at the staging directory of ca, and whether it has one:
// the CA with that directory, or else one called as ca with "-staging" behind it,
// without an external account binding, that is trusted as ca is.
func (s *Settings) StagingOf(ca CA) (CA, bool) {
	if ca.Staging == "" || currentURL(ca.Staging) == currentURL(ca.Directory) {
		return CA{}, false
	}
	staging, err := s.CA(ca.Staging)
	return staging, err == nil
}

// CheckCAs returns an error for every CA of the target (or of conf/target, which
// has no File) that the settings do not know; nil if all are known.
func (s *Settings) CheckCAs(t *Target) error {
	file := "desired/" + t.File
	if t.File == "" {
		file = "conf/target"
	}
	var errs []error
	for _, name := range t.CAs {
		if _, err := s.CA(name); err != nil {
			errs = append(errs, &Mistake{File: file, Key: "request.ca", Text: err.Error()})
		}
	}
	return errors.Join(errs...)
}

// EAB returns the key identifier and the decoded MAC key of the external
// account binding (RFC 8555 §7.3.4); empty and nil if the CA has none. The
// file of the MAC key must belong to root or the user certd runs as, and be
// neither readable for others nor writable for the group.
func (ca CA) EAB() (kid string, hmac []byte, err error) {
	if ca.EABKeyID == "" && ca.EABHMACFile == "" {
		return "", nil, nil
	}
	data, err := readSecret(ca.EABHMACFile)
	if err != nil {
		return "", nil, fmt.Errorf("CA %s: eab.hmac-file: %w", ca.Name, err)
	}
	text := strings.TrimRight(strings.TrimSpace(string(data)), "=")
	hmac, err = base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(hmac) < 16 {
		return "", nil, fmt.Errorf("CA %s: eab.hmac-file: %s does not hold a base64url MAC key of at least 16 bytes; copy it again from the CA's page", ca.Name, ca.EABHMACFile)
	}
	return ca.EABKeyID, hmac, nil
}

// RootsPEM returns the content of ca-bundle; nil without one. It is an error
// if the file has no PEM certificate.
func (ca CA) RootsPEM() ([]byte, error) {
	if ca.Bundle == "" {
		return nil, nil
	}
	f, err := openRegular(ca.Bundle)
	if err != nil {
		return nil, fmt.Errorf("CA %s: ca-bundle: %w", ca.Name, err)
	}
	defer f.Close()
	data, err := readAll(f, maxFile)
	if err != nil {
		return nil, fmt.Errorf("CA %s: ca-bundle: %w", ca.Name, err)
	}
	if !strings.Contains(string(data), "-----BEGIN CERTIFICATE-----") {
		return nil, fmt.Errorf("CA %s: ca-bundle: %s holds no PEM certificate", ca.Name, ca.Bundle)
	}
	return data, nil
}

// readSecret reads a small file that must be private.
func readSecret(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o027 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so others can read or change it; run chmod 0600 %s: %w", path, info.Mode().Perm(), path, fs.ErrPermission)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to user %d, neither root nor the user certd runs as; run chown root %s: %w", path, st.Uid, path, fs.ErrPermission)
	}
	return readAll(f, 4096)
}
