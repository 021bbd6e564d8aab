package state

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"certd/acme"
)

// maxRecord bounds what is kept of one DNS record.
const maxRecord = 512 << 10

func recordFile(id string) string { return "dns/" + id + ".json" }

// SaveRecord makes durable what it takes to remove a DNS record that is about to
// be set, as package challenge wrote it: a JSON document of at most 512 KiB.
func (s *Store) SaveRecord(id string, data []byte) error {
	t, err := s.writer()
	switch {
	case err != nil:
	case !isID(id):
		err = fmt.Errorf("%w: %q is no ID of a record", fs.ErrInvalid, acme.Sanitize(id))
	case len(data) > maxRecord:
		err = fmt.Errorf("%w: %d bytes, more than %d", fs.ErrInvalid, len(data), maxRecord)
	default:
		err = t.putFile(recordFile(id), data, false)
	}
	if err != nil {
		return fmt.Errorf("journal DNS record: %w", err)
	}
	return nil
}

// RemoveRecord forgets a DNS record that was removed; one that is not there is fine.
func (s *Store) RemoveRecord(id string) error {
	t, err := s.writer()
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
