package statetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"certd/state"
)

// Names returns n names such as "host00042.example.test".
func Names(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("host%05d.example.test", i)
	}
	return names
}

// Fill is Lay with new certificates of ca for names.
func Fill(dir, directory string, ca *CA, names []string) error {
	certs, err := ca.IssueAll(names)
	if err != nil {
		return err
	}
	return Lay(dir, directory, certs)
}

// Lay makes dir a state directory in which nothing is due: for each certificate an
// empty file in desired/, its key, and what there would be if the CA with this
// directory URL had issued it to one account, with the link in live/. It writes as
// certd does, through package state, several at once. What was in dir stays.
func Lay(dir, directory string, certs []*Issued) (err error) {
	store, err := state.Open(dir)
	if err != nil {
		return err
	}
	lock, err := store.Lock(context.Background(), 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	edit, err := store.LockEdit(context.Background(), time.Minute)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, edit.Unlock()) }()
	account, err := account(store, directory)
	if err != nil {
		return err
	}
	err = each(len(certs), func(i int) error {
		_, err := store.SaveKey(certs[i].Key)
		return err
	})
	if err != nil {
		return err
	}
	time.Sleep(20 * time.Millisecond) // a CA takes its time: the keys are older than what follows
	return each(len(certs), func(i int) error { return publish(store, certs[i], account, directory) })
}

// each calls do for 0 to n-1, several at once.
func each(n int, do func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error { return do(i) })
	}
	return g.Wait()
}

// account returns the ID of the account at this directory, made if need be.
func account(store *state.Store, directory string) (string, error) {
	have, err := store.Account(directory)
	if err == nil {
		return have.ID, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	key, err := newKey()
	if err != nil {
		return "", err
	}
	a := &state.Account{Directory: directory, Key: key, URL: "https://ca.example/account/1"}
	if err := store.SaveAccount(a); err != nil {
		return "", err
	}
	return a.ID, nil
}

func publish(store *state.Store, c *Issued, account, directory string) error {
	name := c.Leaf.DNSNames[0]
	keyID, err := state.KeyID(c.Key.Public())
	if err != nil {
		return err
	}
	id, err := store.Publish(state.NewCertificate{
		URL: "https://ca.example/order/" + name, Directory: directory, Account: account, KeyID: keyID,
		Cert: c.Cert, Chain: c.Chain, Target: name, Reason: "new",
		Names: slices.Clone(c.Leaf.DNSNames), NotBefore: c.Leaf.NotBefore, NotAfter: c.Leaf.NotAfter,
	})
	if err != nil {
		return err
	}
	if _, err := os.Lstat(store.Path("desired", name)); err == nil {
		return store.Link(name, id)
	}
	_, err = store.AddDesired(name, nil)
	return errors.Join(store.Link(name, id), err)
}

// TempDir returns a new directory that is removed after the test, in memory where
// the system has a place for that: ten thousand certificates are a lot of fsyncs.
func TempDir(tb testing.TB) string {
	tb.Helper()
	memory, err := os.MkdirTemp("/dev/shm", "certd-")
	if err != nil {
		return filepath.Join(tb.TempDir(), "acme")
	}
	tb.Cleanup(func() { _ = os.RemoveAll(memory) })
	return filepath.Join(memory, "acme")
}
