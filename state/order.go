package state

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"certd/acme"
)

// maxURL bounds the URLs that are kept.
const maxURL = 2048

func orderFile(url string) string { return "orders/" + CertID(url) + ".json" }

// attemptFile returns where the attempts of a target are kept. A name of more
// than 250 bytes, such as that of the longest DNS names, goes by its hash.
func attemptFile(target string) string {
	const suffix = ".json"
	if len(target)+len(suffix) > 255 {
		target = hashID([]byte(target))
	}
	return "attempts/" + target + suffix
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
	if err := s.setOrdering(o.Target, &o); err != nil {
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
	return s.setOrdering(o.Target, nil)
}

// CloseOrder forgets o: the record under its URL or, without one, the intent of
// OpenOrder. An order that is not known is fine.
func (s *Store) CloseOrder(o acme.OpenOrder) error {
	t, err := s.writer()
	if err == nil && o.URL == "" {
		err = s.setOrdering(o.Target, nil)
	} else if err == nil {
		err = t.remove(orderFile(o.URL))
	}
	if err != nil {
		return fmt.Errorf("close order for %s: %w", o.Target, err)
	}
	return nil
}

// setOrdering changes the ordering of a target's attempt and keeps the rest. An
// attempt that says nothing else goes with it.
func (s *Store) setOrdering(target string, o *acme.OpenOrder) error {
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
	if err != nil {
		return err
	}
	if a.Ordering == nil && o == nil {
		return nil
	}
	a.Ordering = o
	return t.putAttempt(a)
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
	if a == (Attempt{Target: a.Target}) {
		return t.remove(attemptFile(a.Target))
	}
	data, err := encodeJSON(a)
	if err != nil {
		return err
	}
	return t.putFile(attemptFile(a.Target), data, false)
}

// SaveAttempt makes durable what came of a target's last try. Its Ordering is not
// taken: that belongs to OpenOrder, SaveOrder and CloseOrder, and what they
// recorded stays.
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
			a.Ordering = old.Ordering
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
