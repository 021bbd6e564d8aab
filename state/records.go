package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"certd/acme"
)

// maxRecord bounds what is kept of one DNS record.
const maxRecord = 512 << 10

func recordFile(id string) string { return "dns/" + id + ".json" }

// saveTries is how often a file is made anew that went with the rest of tmp/:
// whoever takes the lock of a pass empties that.
const saveTries = 5

// LockDoctor says to others that a doctor tries DNS records, for as long as the
// lock is held, and gives the right to SaveRecord and RemoveRecord beside a pass.
// Several doctors may hold it. The state directory has to be there; its layout is
// completed. left are the records that were there before, or nil if another doctor
// is at work, as then nobody can tell which of them were left behind.
func (s *Store) LockDoctor(ctx context.Context) (_ *Lock, left map[string][]byte, err error) {
	if _, err := os.Stat(s.dir); err != nil {
		return nil, nil, s.explain("lock", err)
	}
	if err := s.layOut(ctx, "dns", time.Now().Add(lookTime)); err != nil {
		return nil, nil, err
	}
	if l, err := s.acquire(ctx, doctorLock, unix.LOCK_EX, time.Now()); err == nil {
		left, err = s.Records()
		if err := errors.Join(err, l.release()); err != nil {
			return nil, nil, err
		}
	} else if !errors.Is(err, ErrLocked) {
		return nil, nil, err
	}
	l, err := s.acquire(ctx, doctorLock, unix.LOCK_SH, time.Now().Add(lookTime))
	if err != nil {
		return nil, nil, err
	}
	s.keep(l, &s.trying)
	return l, left, nil
}

// Doctor reports whether there may be a doctor that tries DNS records. Only who
// may write to the state directory can tell.
func (s *Store) Doctor(ctx context.Context) bool {
	if _, err := os.Lstat(s.Path(doctorLock)); errors.Is(err, fs.ErrNotExist) {
		return false // there never was one
	}
	l, err := s.acquire(ctx, doctorLock, unix.LOCK_EX, time.Now())
	return err != nil || l.release() != nil
}

// journaler returns the tree of a lock that allows to write DNS records.
func (s *Store) journaler() (*tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := cmp.Or(s.held, s.trying)
	if l == nil {
		return nil, ErrNotLocked
	}
	return &tree{root: l.root, perms: s.perms, step: s.step}, nil
}

// HoldRecord opens the file of a DNS record for a process that is to work on the
// record: as long as that, or a child that it gives the file to, has it open,
// others wait here, at most for wait. After that the file is returned, too: nobody
// should be at work for so long. The error is fs.ErrNotExist if there is no such
// record, or none any more.
func (s *Store) HoldRecord(ctx context.Context, id string, wait time.Duration) (*os.File, error) {
	if !isID(id) {
		return nil, fmt.Errorf("hold DNS record: %w: %q is no ID of a record", fs.ErrInvalid, acme.Sanitize(id))
	}
	deadline := time.Now().Add(wait)
	for {
		f, free, err := s.openRecord(id)
		if err != nil {
			return nil, fmt.Errorf("hold DNS record: %w", err)
		}
		if free || time.Until(deadline) <= 0 {
			return f, nil
		}
		f.Close()
		timer := time.NewTimer(min(lockPoll, time.Until(deadline)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("wait for who is at work with %s: %w", s.Path(recordFile(id)), ctx.Err())
		}
	}
}

// openRecord opens the file of a DNS record, for reading only, as certd-dns gets
// it. free says that nobody else holds it. Where a lock needs more than a file that
// is open for reading (NFS), children do not inherit locks anyway: it counts as free.
func (s *Store) openRecord(id string) (f *os.File, free bool, err error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, false, s.explain("open", err)
	}
	defer root.Close()
	if f, err = root.OpenFile(recordFile(id), os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return nil, false, err
	}
	if errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
		return f, false, nil
	}
	have, err := f.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = root.Lstat(recordFile(id)); err == nil {
			return f, os.SameFile(have, there), nil // else it was replaced just now
		}
	}
	return nil, false, errors.Join(err, f.Close())
}

// SaveRecord makes durable what it takes to remove a DNS record that is about to
// be set, as package challenge wrote it: a JSON document of at most 512 KiB.
func (s *Store) SaveRecord(id string, data []byte) error {
	t, err := s.journaler()
	switch {
	case err != nil:
	case !isID(id):
		err = fmt.Errorf("%w: %q is no ID of a record", fs.ErrInvalid, acme.Sanitize(id))
	case len(data) > maxRecord:
		err = fmt.Errorf("%w: %d bytes, more than %d", fs.ErrInvalid, len(data), maxRecord)
	default:
		for try := 1; ; try++ {
			err = t.putFile(recordFile(id), data, false)
			if try == saveTries || !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("journal DNS record: %w", err)
	}
	return nil
}

// RemoveRecord forgets a DNS record that was removed; one that is not there is fine.
func (s *Store) RemoveRecord(id string) error {
	t, err := s.journaler()
	if err == nil && !isID(id) {
		err = fmt.Errorf("%w: %q is no ID of a record", fs.ErrInvalid, acme.Sanitize(id))
	}
	if err == nil {
		err = t.remove(recordFile(id))
	}
	if err != nil {
		return fmt.Errorf("forget DNS record: %w", err)
	}
	return nil
}

// Records returns what SaveRecord kept, by ID. It needs no lock. The error joins
// what cannot be read; the rest is returned with it.
func (s *Store) Records() (map[string][]byte, error) {
	root, err := s.reader()
	if err != nil || root == nil {
		return nil, err
	}
	defer root.Close()
	entries, err := list(root, "dns")
	if err != nil {
		return nil, fmt.Errorf("read journal of DNS records: %w", err)
	}
	records := make(map[string][]byte, len(entries))
	var errs []error
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if !ok || !isID(id) {
			errs = append(errs, fmt.Errorf("dns/%s: not the name of a journaled record; move it away", acme.Sanitize(e.Name())))
			continue
		}
		data, err := readUpTo(root, "dns/"+e.Name(), maxRecord)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		} else if err == nil {
			records[id] = data
		}
	}
	return records, errors.Join(errs...)
}
