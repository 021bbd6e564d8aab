package state

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"reflect"
	"slices"

	"certd/acme"
)

const (
	maxURL       = 2048 // of the URLs that are kept
	maxElsewhere = 16   // orders without an answer at other CAs
)

func orderFile(url string) string { return "orders/" + CertID(url) + ".json" }

func attemptFile(target string) string { return targetFile("attempts", target) }

// targetFile returns where something of a target is kept in dir. A name of more
// than 250 bytes, such as that of the longest DNS names, goes by its hash.
func targetFile(dir, target string) string {
	const suffix = ".json"
	if len(target)+len(suffix) > 255 {
		target = hashID([]byte(target))
	}
	return dir + "/" + target + suffix
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || len(s) > maxURL {
		return fmt.Errorf("%w: %q is no https URL of at most %d bytes", fs.ErrInvalid, acme.Sanitize(s), maxURL)
	}
	return nil
}

// OpenOrder records that o (still without a URL) is about to be sent, in the
// attempt of its target.
func (s *Store) OpenOrder(o acme.OpenOrder) error {
	if err := s.changeAttempt(o.Target, func(a *Attempt) bool { return a.intend(o) }); err != nil {
		return fmt.Errorf("journal order for %s: %w", o.Target, err)
	}
	return nil
}

// SaveOrder records o under its URL, and then that the intent of OpenOrder is
// answered.
func (s *Store) SaveOrder(o acme.OpenOrder) error {
	if err := s.saveOrder(o); err != nil {
		return fmt.Errorf("journal order for %s: %w", o.Target, err)
	}
	return nil
}

func (s *Store) saveOrder(o acme.OpenOrder) error {
	t, err := s.writer()
	if err != nil {
		return err
	}
	if err := checkURL(o.URL); err != nil {
		return err
	}
	data, err := encodeJSON(o)
	if err != nil {
		return err
	}
	if err := t.putFile(orderFile(o.URL), data, false); err != nil {
		return err
	}
	return s.changeAttempt(o.Target, func(a *Attempt) bool { return a.answered(o) })
}

// CloseOrder forgets o: the record under its URL or, without one, the intent of
// OpenOrder. An order that is not known is fine.
func (s *Store) CloseOrder(o acme.OpenOrder) error {
	t, err := s.writer()
	if err == nil && o.URL == "" {
		err = s.changeAttempt(o.Target, func(a *Attempt) bool { return a.answered(o) })
	} else if err == nil {
		err = t.remove(orderFile(o.URL))
	}
	if err != nil {
		return fmt.Errorf("close order for %s: %w", o.Target, err)
	}
	return nil
}

// changeAttempt changes what is kept of a target's orders without an answer, and
// nothing else. An attempt that says nothing goes.
func (s *Store) changeAttempt(target string, change func(*Attempt) (changed bool)) error {
	t, err := s.writer()
	if err != nil {
		return err
	}
	if err := checkFileName(target); err != nil {
		return err
	}
	s.attempts.Lock()
	defer s.attempts.Unlock()
	a, err := t.readAttempt(target)
	if err != nil || !change(&a) {
		return err
	}
	return t.putAttempt(a)
}

// intend notes that o is about to be sent. What another CA has not answered yet
// is kept.
func (a *Attempt) intend(o acme.OpenOrder) bool {
	if old := a.Ordering; old != nil && !sameCA(*old, o) {
		a.answered(*old)
		a.Elsewhere = append(a.Elsewhere, *old)
		a.Elsewhere = a.Elsewhere[max(0, len(a.Elsewhere)-maxElsewhere):]
	}
	a.answered(o)
	a.Ordering = &o
	return true
}

// answered notes that the CA of o is not to be asked for an order any more.
func (a *Attempt) answered(o acme.OpenOrder) (changed bool) {
	if a.Ordering != nil && sameCA(*a.Ordering, o) {
		a.Ordering, changed = nil, true
	}
	before := len(a.Elsewhere)
	a.Elsewhere = slices.DeleteFunc(a.Elsewhere, func(e acme.OpenOrder) bool { return sameCA(e, o) })
	return changed || len(a.Elsewhere) < before
}

// Intent returns the order that was sent to the CA with this directory and whose
// answer was not journaled; nil if there is none.
func (a Attempt) Intent(directory string) *acme.OpenOrder {
	asked := acme.OpenOrder{Directory: directory}
	if a.Ordering != nil && sameCA(*a.Ordering, asked) {
		return a.Ordering
	}
	for _, o := range a.Elsewhere {
		if sameCA(o, asked) {
			return &o
		}
	}
	return nil
}

func sameCA(a, b acme.OpenOrder) bool {
	return CanonicalDirectory(a.Directory) == CanonicalDirectory(b.Directory)
}

// readAttempt reads what is kept of a target; nothing, or something unreadable,
// is an empty attempt.
func (t *tree) readAttempt(target string) (Attempt, error) {
	var a Attempt
	err := readJSON(t.root, attemptFile(target), &a)
	if err != nil && errors.Is(err, fs.ErrPermission) {
		return a, err
	}
	if err != nil || a.Target != target {
		a = Attempt{}
	}
	a.Target = target
	return a, nil
}

func (t *tree) putAttempt(a Attempt) error {
	if len(a.Elsewhere) == 0 {
		a.Elsewhere = nil
	}
	if reflect.DeepEqual(a, Attempt{Target: a.Target}) {
		return t.remove(attemptFile(a.Target))
	}
	data, err := encodeJSON(a)
	if err != nil {
		return err
	}
	return t.putFile(attemptFile(a.Target), data, false)
}

// SaveAttempt makes durable what came of a target's last try. Its Ordering and
// Elsewhere are not taken: they belong to OpenOrder, SaveOrder and CloseOrder, and
// what these recorded stays; but after a success nothing is waited for Elsewhere.
func (s *Store) SaveAttempt(a Attempt) error {
	t, err := s.writer()
	if err == nil {
		err = checkFileName(a.Target)
	}
	if err == nil {
		s.attempts.Lock()
		defer s.attempts.Unlock()
		var old Attempt
		if old, err = t.readAttempt(a.Target); err == nil {
			a.Ordering, a.Elsewhere = old.Ordering, old.Elsewhere
			if a.Failures == 0 {
				a.Elsewhere = nil
			}
			err = t.putAttempt(a)
		}
	}
	if err != nil {
		return fmt.Errorf("save attempt of %s: %w", a.Target, err)
	}
	return nil
}

// RemoveAttempt forgets a target's tries, an unanswered order among them.
func (s *Store) RemoveAttempt(target string) error {
	t, err := s.writer()
	if err == nil {
		err = checkFileName(target)
	}
	if err == nil {
		s.attempts.Lock()
		defer s.attempts.Unlock()
		err = t.remove(attemptFile(target))
	}
	if err != nil {
		return fmt.Errorf("remove attempt of %s: %w", target, err)
	}
	return nil
}
