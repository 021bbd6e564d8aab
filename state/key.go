package state

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// maxRSABits bounds the keys that are loaded: larger ones take minutes to check.
const maxRSABits = 16384

// SaveKey makes key durable in keys/ and returns its ID. Nothing is written if it
// is there. The file is PEM as acmetool and every server read it: SEC 1 "EC
// PRIVATE KEY" or PKCS #1 "RSA PRIVATE KEY".
func (s *Store) SaveKey(key crypto.Signer) (id string, err error) {
	t, err := s.writer()
	if err != nil {
		return "", fmt.Errorf("save key: %w", err)
	}
	id, data, err := encodeKey(key)
	if err != nil {
		return "", fmt.Errorf("save key: %w", err)
	}
	if err := t.saveKey("keys/"+id, id, data, nil); err != nil {
		return "", fmt.Errorf("save key: %w", err)
	}
	return id, nil
}

// saveKey makes dir hold the key with this ID as privkey, and more beside it if
// dir is new. A key file that holds the key in another encoding is kept.
func (t *tree) saveKey(dir, id string, data []byte, more []entry) error {
	_, err := loadKey(t.root, dir+"/privkey", id)
	if err == nil {
		return nil
	}
	if _, err := t.root.Lstat(dir); err == nil {
		return t.putFile(dir+"/privkey", data, false) // left without a key, or with rubbish, by somebody else
	}
	return t.putDir(dir, append([]entry{{name: "privkey", data: data}}, more...), nil)
}

// LoadKey returns the key with this ID. The error wraps fs.ErrNotExist if there
// is none.
func (s *Store) LoadKey(id string) (crypto.Signer, error) {
	if err := checkID("key", id); err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	root, err := s.reader()
	if err != nil {
		return nil, fmt.Errorf("load key %s: %w", id, err)
	}
	if root == nil {
		return nil, fmt.Errorf("load key %s: %w", id, fs.ErrNotExist)
	}
	defer root.Close()
	key, err := loadKey(root, "keys/"+id+"/privkey", id)
	if err != nil {
		return nil, s.explain("load key "+id, err)
	}
	return key, nil
}

// loadKey reads a key file and checks that it holds the key with this ID.
func loadKey(root *os.Root, name, id string) (crypto.Signer, error) {
	data, err := readFile(root, name)
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	have, err := KeyID(key.Public())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if have != id {
		return nil, fmt.Errorf("%s holds another key, %s", name, have)
	}
	return key, nil
}

// encodeKey returns a key's ID and its PEM file.
func encodeKey(key crypto.Signer) (id string, data []byte, err error) {
	if id, err = KeyID(key.Public()); err != nil {
		return "", nil, err
	}
	block := &pem.Block{}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		block.Type = "EC PRIVATE KEY"
		block.Bytes, err = x509.MarshalECPrivateKey(k)
	case *rsa.PrivateKey:
		block.Type = "RSA PRIVATE KEY"
		block.Bytes = x509.MarshalPKCS1PrivateKey(k)
	default:
		err = fmt.Errorf("key of type %T cannot be written to a file", key)
	}
	if err != nil {
		return "", nil, err
	}
	return id, pem.EncodeToMemory(block), nil
}

// decodeKey reads the first private key of a PEM file: PKCS #8, SEC 1 or PKCS #1.
func decodeKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("no PEM private key in it")
		}
		var key any
		var err error
		switch block.Type {
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			err = errors.New("it is encrypted, and certd has nobody to ask for the passphrase")
		default: // such as openssl's "EC PARAMETERS"
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("bad private key: %w", err)
		}
		switch k := key.(type) {
		case *ecdsa.PrivateKey:
			return k, nil
		case *rsa.PrivateKey:
			if k.N.BitLen() > maxRSABits {
				return nil, fmt.Errorf("RSA key of %d bits, at most %d are read", k.N.BitLen(), maxRSABits)
			}
			return k, nil
		default:
			return nil, fmt.Errorf("key of type %T: only RSA and ECDSA keys are kept", key)
		}
	}
}

// A keyDir is the directory keys/, open for looking whether keys are there. The
// zero value has no keys.
type keyDir struct {
	root   *os.Root
	hidden bool // we may not look into it
}

func openKeys(root *os.Root) (keyDir, error) {
	keys, err := root.OpenRoot("keys")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return keyDir{}, nil
	case errors.Is(err, fs.ErrPermission):
		return keyDir{hidden: true}, nil
	case err != nil:
		return keyDir{}, fmt.Errorf("open keys: %w", err)
	}
	return keyDir{root: keys}, nil
}

func (k keyDir) close() {
	if k.root != nil {
		k.root.Close()
	}
}

// look reports whether the key with this ID is there and not empty, and its mode. A
// user who may not look has to believe that the certificate is linked to it.
func (k keyDir) look(id string, linked bool) (has bool, mode fs.FileMode) {
	if k.hidden {
		return linked, 0
	}
	if k.root == nil {
		return false, 0
	}
	fi, err := k.root.Lstat(id + "/privkey")
	if errors.Is(err, fs.ErrPermission) {
		return linked, 0
	}
	if err != nil || !fi.Mode().IsRegular() {
		return false, 0
	}
	return fi.Size() > 0, fi.Mode()
}

// unchanged reports whether a key file has the digest it was published with or,
// in another encoding, still holds its key. Without a digest (acmetool kept none)
// and for users who may not read keys there is nothing to compare.
func (k keyDir) unchanged(id, want string) bool {
	if want == "" || k.root == nil {
		return true
	}
	data, err := readFile(k.root, id+"/privkey")
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	if digest(data) == want {
		return true
	}
	_, err = loadKey(k.root, id+"/privkey", id)
	return err == nil
}
