package state

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"
)

func eventFile(id string) string { return "pending/" + id + ".json" }

// checkEventID refuses what is no file name of pending/.
func checkEventID(id string) error {
	if err := checkFileName(id + ".json"); err != nil {
		return fmt.Errorf("event ID: %w", err)
	}
	return nil
}

// SaveEvent makes a hook event durable and returns it with what was filled in:
// ID (which begins with the time, so that a listing is in order) and Created, if
// they were empty. Names are sorted.
func (s *Store) SaveEvent(e Event) (Event, error) {
	t, err := s.writer()
	if err != nil {
		return e, fmt.Errorf("save event %s: %w", e.Event, err)
	}
	if e.Created.IsZero() {
		e.Created = time.Now().UTC()
	}
	if e.ID == "" {
		e.ID = e.Created.UTC().Format("20060102T150405.000000Z") + "-" + strings.ToLower(rand.Text()[:8])
	}
	e.Names = slices.Sorted(slices.Values(e.Names))
	err = checkEventID(e.ID)
	for _, name := range e.Names {
		if err == nil {
			err = checkLiveName(name)
		}
	}
	if err == nil {
		var data []byte
		if data, err = encodeJSON(e); err == nil {
			err = t.putFile(eventFile(e.ID), data, false)
		}
	}
	if err != nil {
		return e, fmt.Errorf("save event %s: %w", e.Event, err)
	}
	return e, nil
}

// RemoveEvent forgets a delivered event; one that is not there is fine.
func (s *Store) RemoveEvent(id string) error {
	t, err := s.writer()
	if err == nil {
		err = checkEventID(id)
	}
	if err == nil {
		err = t.remove(eventFile(id))
	}
	if err != nil {
		return fmt.Errorf("remove event %s: %w", id, err)
	}
	return nil
}
