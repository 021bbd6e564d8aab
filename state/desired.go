package state

import (
	"errors"
	"fmt"
	"io/fs"
)

// maxSameName bounds the target files that begin with the same name.
const maxSameName = 1000

// AddDesired writes a new target file to desired/: under the given name, or with
// "-2", "-3" and so on behind it if that is taken. It returns the name used.
func (s *Store) AddDesired(name string, data []byte) (file string, err error) {
	t, err := s.writer()
	if err != nil {
		return "", fmt.Errorf("add target %s: %w", name, err)
	}
	for i := 1; i <= maxSameName; i++ {
		file = name
		if i > 1 {
			file = fmt.Sprintf("%s-%d", name, i)
		}
		if err := checkFileName(file); err != nil {
			return "", fmt.Errorf("add target: %w", err)
		}
		_, err := t.root.Lstat("desired/" + file)
		if errors.Is(err, fs.ErrNotExist) {
			return file, s.WriteDesired(file, data)
		}
		if err != nil {
			return "", fmt.Errorf("add target %s: %w", file, err)
		}
	}
	return "", fmt.Errorf("add target %s: %d files in desired/ begin with that name: join some of them", name, maxSameName)
}

// ReadDesired reads a target file of desired/.
func (s *Store) ReadDesired(file string) ([]byte, error) {
	if err := checkFileName(file); err != nil {
		return nil, fmt.Errorf("read target: %w", err)
	}
	root, err := s.reader()
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, fmt.Errorf("read target %s: %w", file, fs.ErrNotExist)
	}
	defer root.Close()
	data, err := readFile(root, "desired/"+file)
	if err != nil {
		return nil, fmt.Errorf("read target %s: %w", file, err)
	}
	return data, nil
}
