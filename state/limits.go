package state

import (
	"errors"
	"fmt"
	"io/fs"
)

const (
	// limitsFile keeps what was asked of CAs lately, and which of them do not work.
	limitsFile = "limits.json"

	// maxLimits bounds it: a book of package limit with all its entries.
	maxLimits = 32 << 20
)

// SaveLimits makes the document of package limit durable, at most 32 MiB.
func (s *Store) SaveLimits(data []byte) error {
	t, err := s.writer()
	if err == nil && len(data) > maxLimits {
		err = fmt.Errorf("%d bytes, more than %d", len(data), maxLimits)
	}
	if err == nil {
		err = t.putFile(limitsFile, data, false)
	}
	if err != nil {
		return fmt.Errorf("save limits: %w", err)
	}
	return nil
}

// LoadLimits returns what SaveLimits kept; nil without an error if there is
// nothing. It needs no lock.
func (s *Store) LoadLimits() ([]byte, error) {
	root, err := s.reader()
	if err != nil {
		return nil, fmt.Errorf("load limits: %w", err)
	}
	if root == nil {
		return nil, nil
	}
	defer root.Close()
	data, err := readUpTo(root, limitsFile, maxLimits)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load limits: %w", err)
	}
	return data, nil
}
