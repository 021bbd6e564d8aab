package state

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// An accountFile is account.json, which acmetool does not have.
type accountFile struct {
	Directory string   `json:"directory"`
	URL       string   `json:"url"`
	Contacts  []string `json:"contacts"`
	OrdersURL string   `json:"orders"`
	EABKeyID  string   `json:"eab_kid"`
	Terms     string   `json:"terms_agreed"`
}

// Accounts returns every account with its private key, by ID. The error is that
// accounts/ itself cannot be read; it wraps fs.ErrPermission for a user who may
// not.
func (s *Store) Accounts() ([]Account, []Broken, error) {
	root, err := s.reader()
	if root == nil {
		return nil, nil, err
	}
	defer root.Close()
	accounts, broken, err := loadAccounts(root)
	if err != nil {
		return nil, nil, s.explain("read accounts", err)
	}
	return accounts, broken, nil
}

func loadAccounts(root *os.Root) ([]Account, []Broken, error) {
	servers, err := list(root, "accounts")
	if err != nil {
		return nil, nil, err
	}
	var accounts []Account
	var broken []Broken
	for _, server := range servers {
		dir := "accounts/" + server.Name()
		if !server.IsDir() {
			broken = append(broken, Broken{Path: dir, Err: fmt.Errorf("a %s, not the directory of a CA", kind(server.Type()))})
			continue
		}
		keys, err := list(root, dir)
		if err != nil {
			broken = append(broken, Broken{Path: dir, Err: err})
			continue
		}
		for _, key := range keys {
			id := server.Name() + "/" + key.Name()
			a, bad := loadAccount(root, id)
			if a != nil {
				accounts = append(accounts, *a)
			}
			broken = append(broken, bad...)
		}
	}
	return accounts, broken, nil
}

// loadAccount reads one account. One whose account.json is bad is returned all
// the same: its key is what counts, the CA knows the rest.
func loadAccount(root *os.Root, id string) (*Account, []Broken) {
	dir := "accounts/" + id
	directory, err := DirectoryOf(id)
	if err != nil {
		return nil, []Broken{{Path: dir, Err: err}}
	}
	_, keyID, _ := strings.Cut(id, "/")
	key, err := loadKey(root, dir+"/privkey", keyID)
	if err != nil {
		return nil, []Broken{{Path: dir, Err: err}}
	}
	a := &Account{ID: id, Directory: directory, Key: key}
	if err := a.readNext(root); err != nil {
		return nil, []Broken{{Path: dir, Err: err}}
	}
	var file accountFile
	err = readJSON(root, dir+"/account.json", &file)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return a, []Broken{{Path: dir + "/account.json", Err: err}}
	}
	a.URL, a.Contacts, a.OrdersURL, a.EABKeyID, a.Terms = file.URL, file.Contacts, file.OrdersURL, file.EABKeyID, file.Terms
	return a, nil
}

// A BrokenAccountError reports that what is kept of the account at a CA cannot be
// used. It is not that there is none, for which another might be registered.
type BrokenAccountError struct {
	Path string // absolute
	Err  error  // what is wrong; not to be unwrapped, since it may be that a file of it is missing
}

// Error names the account, what is wrong, and the remedy.
func (e *BrokenAccountError) Error() string {
	remedy := "restore it from a backup, or move it away to register a new account"
	if errors.Is(e.Err, fs.ErrPermission) {
		remedy = "run certd as the user whom it belongs to"
	}
	return fmt.Sprintf("account %s cannot be used: %v; %s", e.Path, e.Err, remedy)
}

// Account returns the account at the CA with this directory URL. The error wraps
// fs.ErrNotExist if there is none, and is a *BrokenAccountError if there are only
// broken ones. Of several it is one whose URL is known, then
// the one with the lowest ID.
func (s *Store) Account(directory string) (*Account, error) {
	all, broken, err := s.Accounts()
	if err != nil {
		return nil, fmt.Errorf("account at %s: %w", directory, err)
	}
	want := CanonicalDirectory(directory)
	all = slices.DeleteFunc(all, func(a Account) bool { return CanonicalDirectory(a.Directory) != want })
	if len(all) == 0 {
		for _, b := range broken {
			if b.isAccountAt(want) {
				return nil, &BrokenAccountError{Path: s.Path(b.Path), Err: b.Err}
			}
		}
		return nil, errors.Join(fmt.Errorf("account at %s: %w", directory, fs.ErrNotExist), joinBroken(broken))
	}
	all = withoutOld(all)
	slices.SortFunc(all, func(a, b Account) int {
		if (a.URL == "") != (b.URL == "") {
			return cmp.Compare(b.URL, a.URL)
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return &all[0], nil
}

// withoutOld leaves accounts out whose rollover is confirmed but for putting them
// away, and makes them known to those that took their place.
func withoutOld(all []Account) []Account {
	place := make(map[string]int, len(all))
	for i, a := range all {
		place[a.ID] = i
	}
	var kept []Account
	old := make(map[string]*Account)
	for _, a := range all {
		if a.Next != nil {
			if id, err := a.under(a.Next); err == nil && all[place[id]].ID == id {
				old[id] = &a
				continue
			}
		}
		kept = append(kept, a)
	}
	for i := range kept {
		kept[i].Old = old[kept[i].ID]
	}
	return kept
}

// isAccountAt reports whether b was an account at this CA, or may hide one.
func (b Broken) isAccountAt(canonical string) bool {
	server, id, ok := strings.Cut(strings.TrimPrefix(b.Path, "accounts/"), "/")
	if !ok {
		id = hashID(nil) // the CA's directory as a whole: that of any account will do
	}
	directory, err := DirectoryOf(server + "/" + id)
	return err == nil && CanonicalDirectory(directory) == canonical
}

func joinBroken(broken []Broken) error {
	var errs []error
	for _, b := range broken {
		errs = append(errs, fmt.Errorf("%s: %w", b.Path, b.Err))
	}
	return errors.Join(errs...)
}

// SaveAccount makes an account durable: its key, then what the CA said of it. It
// sets a.ID, and keeps the place of an account that has one.
func (s *Store) SaveAccount(a *Account) error {
	t, err := s.writer()
	if err != nil {
		return fmt.Errorf("save account: %w", err)
	}
	id, err := a.place()
	if err != nil {
		return fmt.Errorf("save account: %w", err)
	}
	keyID, pem, err := encodeKey(a.Key)
	if err != nil {
		return fmt.Errorf("save account: %w", err)
	}
	data, err := encodeJSON(accountFile{Directory: a.Directory, URL: a.URL, Contacts: a.Contacts, OrdersURL: a.OrdersURL, EABKeyID: a.EABKeyID, Terms: a.Terms})
	if err != nil {
		return fmt.Errorf("save account: %w", err)
	}
	var more []entry
	if a.URL != "" || len(a.Contacts) > 0 || a.EABKeyID != "" {
		more = []entry{{name: "account.json", data: data}}
	}
	dir := "accounts/" + id
	err = t.ensureDir("accounts/" + strings.TrimSuffix(id, "/"+keyID))
	if err == nil {
		err = t.saveKey(dir, keyID, pem, more)
	}
	if _, statErr := t.root.Lstat(dir + "/account.json"); err == nil && (more != nil || statErr == nil) {
		err = t.putFile(dir+"/account.json", data, false)
	}
	if err != nil {
		return fmt.Errorf("save account at %s: %w", a.Directory, err)
	}
	a.ID = id
	return nil
}

// place returns the ID under which the account is kept: the one it has, if that
// is of the same CA (perhaps under an older URL) and key.
func (a *Account) place() (string, error) {
	id, err := AccountID(a.Directory, a.Key.Public())
	if err != nil || a.ID == "" || a.ID == id {
		return id, err
	}
	old, err := DirectoryOf(a.ID)
	if err != nil {
		return "", err
	}
	_, have, _ := strings.Cut(a.ID, "/")
	_, want, _ := strings.Cut(id, "/")
	if have == want && CanonicalDirectory(old) == CanonicalDirectory(a.Directory) {
		return a.ID, nil
	}
	return id, nil
}
