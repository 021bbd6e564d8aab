package state

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	recordA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	recordB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Doctors write records beside a pass, and know of each other.
func TestLockDoctor(t *testing.T) {
	t.Parallel()
	pass := lockedStore(t)
	if err := pass.SaveRecord(recordA, []byte(`{"name":"x"}`)); err != nil {
		t.Fatal(err)
	}
	if pass.Doctor(t.Context()) {
		t.Error("there is a doctor before there was one")
	}
	one, two := openStore(t, pass.Dir()), openStore(t, pass.Dir())
	if err := one.SaveRecord(recordB, []byte("{}")); !errors.Is(err, ErrNotLocked) {
		t.Errorf("a record without any lock: got %v", err)
	}
	first, left, err := one.LockDoctor(t.Context())
	if err != nil || len(left) != 1 || left[recordA] == nil {
		t.Fatalf("the first doctor: %v, and the records %q, want the one that was there", err, left)
	}
	second, left, err := two.LockDoctor(t.Context())
	if err != nil || left != nil {
		t.Fatalf("a second doctor: %v, and the records %q, want none, as they may be the first one's", err, left)
	}
	for id, s := range map[string]*Store{recordA: one, recordB: two} {
		if err := errors.Join(s.SaveRecord(id, []byte("{}")), s.RemoveRecord(id)); err != nil {
			t.Errorf("a doctor beside a pass: %v", err)
		}
		if !pass.Doctor(t.Context()) {
			t.Error("a doctor at work is not seen")
		}
	}
	for _, l := range []*Lock{first, second} {
		if err := l.Unlock(); err != nil {
			t.Error(err)
		}
	}
	if pass.Doctor(t.Context()) {
		t.Error("there is a doctor after the last one has ended")
	}
	if err := one.SaveRecord(recordB, []byte("{}")); !errors.Is(err, ErrNotLocked) {
		t.Errorf("a record after the lock was given up: got %v", err)
	}
}

// A doctor makes no state directory, but completes one.
func TestLockDoctorLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/acme"
	if _, _, err := openStore(t, dir).LockDoctor(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a state directory: got %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir)
	l, _, err := s.LockDoctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	if err := s.SaveRecord(recordA, []byte("{}")); err != nil {
		t.Error(err)
	}
	if got, err := s.Records(); err != nil || len(got) != 1 {
		t.Errorf("got %q, %v", got, err)
	}
}

// Whoever takes the lock of a pass empties tmp/: what a doctor has there is made anew.
func TestSaveRecordWhileTmpIsEmptied(t *testing.T) {
	t.Parallel()
	pass := lockedStore(t)
	s := openStore(t, pass.Dir())
	l, _, err := s.LockDoctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	emptied := 0
	s.step = func(op, _ string) error {
		if op != "rename" || emptied == 2 {
			return nil
		}
		emptied++
		return (&tree{root: l.root, perms: s.perms}).makeTemp()
	}
	if err := s.SaveRecord(recordA, []byte("{}")); err != nil || emptied != 2 {
		t.Errorf("saved with tmp/ emptied %d times: %v", emptied, err)
	}
}

// Who wants to work on a record waits for the process that has its file open, by
// whomever that was started, but not for ever.
func TestHoldRecord(t *testing.T) {
	t.Parallel()
	s := lockedStore(t)
	if _, err := s.HoldRecord(t.Context(), recordA, time.Minute); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such record: got %v", err)
	}
	if _, err := s.HoldRecord(t.Context(), "../lock", 0); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no ID: got %v", err)
	}
	if err := s.SaveRecord(recordA, []byte(`{"name":"x"}`)); err != nil {
		t.Fatal(err)
	}
	f, err := s.HoldRecord(t.Context(), recordA, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("x"); err == nil {
		t.Error("who holds a record can write its file")
	}
	child := exec.Command("sleep", "600")
	child.ExtraFiles = []*os.File{f}
	if err := errors.Join(child.Start(), f.Close()); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	defer end()
	other, err := s.HoldRecord(t.Context(), recordA, 3*lockPoll)
	if err != nil {
		t.Fatalf("after the time to wait: %v", err)
	}
	other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	if _, err := s.HoldRecord(ctx, recordA, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled while a child is at work: got %v", err)
	}
	var ended atomic.Bool
	go func() {
		time.Sleep(2 * lockPoll)
		ended.Store(true)
		end()
	}()
	other, err = s.HoldRecord(t.Context(), recordA, time.Hour)
	if err != nil || !ended.Load() {
		t.Fatalf("got %v, after the child's end: %v", err, ended.Load())
	}
	go func() { // who waits sees that the record goes
		time.Sleep(2 * lockPoll)
		_ = s.RemoveRecord(recordA)
		other.Close()
	}()
	if _, err := s.HoldRecord(t.Context(), recordA, time.Hour); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a record that was removed meanwhile: got %v", err)
	}
}
