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

	"golang.org/x/sys/unix"
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

// HasKey reports whether there is a key with this ID. The key is not read, nor
// looked at by a user who may not: then it is there.
func (s *Store) HasKey(id string) bool {
	if checkID("key", id) != nil {
		return false
	}
	fi, err := os.Lstat(s.Path("keys", id, "privkey"))
	return errors.Is(err, fs.ErrPermission) || err == nil && fi.Mode().IsRegular() && fi.Size() > 0
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
	root   *os.Root // nil: no keys
	dir    folder
	hidden bool // we may not look into it
}

func openKeys(root *os.Root) (keyDir, error) {
	keys, err := root.OpenRoot("keys")
	var dir folder
	if err == nil {
		if dir, err = openFolder(keys, "."); err != nil {
			keys.Close()
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return keyDir{}, nil
	case errors.Is(err, fs.ErrPermission):
		return keyDir{hidden: true}, nil
	case err != nil:
		return keyDir{}, fmt.Errorf("open keys: %w", err)
	}
	return keyDir{root: keys, dir: dir}, nil
}

func (k keyDir) close() {
	if k.root != nil {
		k.root.Close()
		k.dir.close()
	}
}

// A keyFile is what can be told of a key without reading it.
type keyFile struct {
	there   bool          // it is there and not empty
	mode    fs.FileMode   // zero if it is not to be seen
	changed unix.Timespec // when content, owner or mode last were; zero if it is not to be seen
}

// before reports whether the key's file was last changed before at: what was true
// of it then is true now. The kernel writes that time, and no program can set it.
// Within one tick of its clock there is no before.
func (f keyFile) before(at unix.Timespec) bool {
	return f.changed != (unix.Timespec{}) && f.changed.Nano() < at.Nano()
}

// look looks at the file of the key with this ID. A user who may not has to
// believe that the certificate is linked to it.
func (k keyDir) look(id string, linked bool) keyFile {
	if k.hidden {
		return keyFile{there: linked}
	}
	if k.root == nil {
		return keyFile{}
	}
	st, err := k.stat(id)
	if errors.Is(err, fs.ErrPermission) {
		return keyFile{there: linked}
	}
	mode := fileMode(st.Mode)
	if err != nil || !mode.IsRegular() {
		return keyFile{}
	}
	return keyFile{there: st.Size > 0, mode: mode, changed: st.Ctim}
}

// stat looks at a key's file; its directory must be one, and no link.
func (k keyDir) stat(id string) (unix.Stat_t, error) {
	fd, err := k.dir.open(id, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return unix.Stat_t{}, err
	}
	defer unix.Close(fd)
	return folder(fd).stat("privkey")
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
