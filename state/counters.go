package state

import (
	"errors"
	"fmt"
	"io/fs"
)

// countersFile keeps what is counted, so that counters go on from run to run.
const countersFile = "counters.json"

// SaveCounters makes the document of package metrics durable. It is at most
// 1 MiB, the size of the largest file that is read back.
func (s *Store) SaveCounters(data []byte) error {
	t, err := s.writer()
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%d bytes, more than %d", len(data), maxFile)
	}
	if err == nil {
		err = t.putFile(countersFile, data, false)
	}
	if err != nil {
		return fmt.Errorf("save counters: %w", err)
	}
	return nil
}

// LoadCounters returns what SaveCounters kept; nil without an error if there is
// nothing. It needs no lock.
func (s *Store) LoadCounters() ([]byte, error) {
	root, err := s.reader()
	if err != nil {
		return nil, fmt.Errorf("load counters: %w", err)
	}
	if root == nil {
		return nil, nil
	}
	defer root.Close()
	data, err := readFile(root, countersFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load counters: %w", err)
	}
	return data, nil
}
