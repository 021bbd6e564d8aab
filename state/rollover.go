package state

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

const (
	// nextKeyFile holds, in the directory of an account, the key that it is about
	// to get, in the way of privkey.
	nextKeyFile = "next-privkey"

	// retired is what the name of an account's directory begins with once the
	// account, or its key, is of no use any more. Hidden: neither acmetool nor we
	// look into it.
	retired = ".retired-"
)

// readNext reads the key that an account is about to get.
func (a *Account) readNext(root *os.Root) error {
	data, err := readFile(root, "accounts/"+a.ID+"/"+nextKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		a.Next, err = decodeKey(data)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", nextKeyFile, err)
	}
	return nil
}

// under returns the ID that the account has with another key, beside the present one.
func (a *Account) under(key crypto.Signer) (string, error) {
	server, _, _ := strings.Cut(a.ID, "/")
	id, err := KeyID(key.Public())
	return server + "/" + id, err
}

// BeginRollover makes next durable as the key that the account is about to get,
// and sets a.Next. After it the CA may be asked to change the key: whatever
// happens then, both keys are there. A rollover that was begun before must be
// finished or canceled first.
func (s *Store) BeginRollover(a *Account, next crypto.Signer) error {
	t, err := s.writer()
	if err == nil && a.Next != nil {
		err = errors.New("it has begun already")
	}
	var data []byte
	if err == nil {
		_, data, err = encodeKey(next)
	}
	if err == nil {
		_, err = t.root.Lstat("accounts/" + a.ID + "/privkey")
	}
	if err == nil {
		err = t.putFile("accounts/"+a.ID+"/"+nextKeyFile, data, false)
	}
	if err != nil {
		return fmt.Errorf("begin the key change of account %s: %w", a.ID, err)
	}
	a.Next = next
	return nil
}

// CancelRollover forgets the key that the account was about to get, because the CA
// will never have it: it has refused it. It must not be called on a mere failure
// to hear from the CA.
func (s *Store) CancelRollover(a *Account) error {
	t, err := s.writer()
	if err == nil {
		err = t.remove("accounts/" + a.ID + "/" + nextKeyFile)
	}
	if err != nil {
		return fmt.Errorf("cancel the key change of account %s: %w", a.ID, err)
	}
	a.Next = nil
	return nil
}

// FinishRollover makes a.Next the account's key, once the CA has confirmed that it
// is, and returns the account under its new ID. The account link of every
// certificate follows, and the old key is retired. It can be repeated if it was
// cut off; what it is given may be Account.Old.
func (s *Store) FinishRollover(a *Account) (*Account, error) {
	now, err := s.finishRollover(a)
	if err != nil {
		return nil, fmt.Errorf("finish the key change of account %s: %w", a.ID, err)
	}
	return now, nil
}

func (s *Store) finishRollover(a *Account) (*Account, error) {
	t, err := s.writer()
	if err == nil && a.Next == nil {
		err = errors.New("it has not begun")
	}
	if err != nil {
		return nil, err
	}
	now := &Account{Directory: a.Directory, Key: a.Next, URL: a.URL, Contacts: a.Contacts, OrdersURL: a.OrdersURL, EABKeyID: a.EABKeyID, Terms: a.Terms}
	if now.ID, err = a.under(a.Next); err != nil {
		return nil, err
	}
	if err := s.SaveAccount(now); err != nil {
		return nil, err
	}
	if err := t.moveAccountLinks(a.ID, now.ID); err != nil {
		return nil, err
	}
	return now, t.retire(a.ID)
}

// moveAccountLinks makes certificates of one account those of another.
func (t *tree) moveAccountLinks(from, to string) error {
	certs, err := list(t.root, "certs")
	if err != nil {
		return err
	}
	for _, e := range certs {
		name := "certs/" + e.Name() + "/account"
		if text, err := t.root.Readlink(name); err != nil || text != "../../accounts/"+from {
			continue // without, of another account, or no certificate at all
		}
		if err := t.putLink(name, "../../accounts/"+to); err != nil {
			return err
		}
	}
	return nil
}

// RetireAccount puts an account away that the CA has deactivated: certd and
// acmetool don't see it any more.
func (s *Store) RetireAccount(a *Account) error {
	t, err := s.writer()
	if err == nil {
		err = t.retire(a.ID)
	}
	if err != nil {
		return fmt.Errorf("retire account %s: %w", a.ID, err)
	}
	return nil
}

func (t *tree) retire(accountID string) error {
	if _, err := DirectoryOf(accountID); err != nil {
		return err
	}
	from := "accounts/" + accountID
	if _, err := t.root.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	to := path.Dir(from) + "/" + retired + path.Base(from)
	if _, err := t.root.Lstat(to); err == nil { // the same key, restored from a backup and retired again
		if err := t.removeDir(to); err != nil {
			return err
		}
	}
	return t.rename(from, to)
}

// retiredAccounts lists what RetireAccount and FinishRollover have put away.
func retiredAccounts(root *os.Root) ([]string, error) {
	servers, err := list(root, "accounts")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, server := range servers {
		f, err := root.Open("accounts/" + server.Name())
		if err != nil {
			return nil, err
		}
		names, err := f.Readdirnames(-1)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		for _, name := range names {
			if id, ok := strings.CutPrefix(name, retired); ok && isID(id) {
				found = append(found, "accounts/"+server.Name()+"/"+name)
			}
		}
	}
	return found, nil
}
