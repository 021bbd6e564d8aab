package state

import "fmt"

// WriteConf writes a file to conf/, such as "target" or "responses". Nothing is
// written if it has this content. An existing file whose mode is narrower than
// that of conf/perm keeps it, for it may hold credentials.
func (s *Store) WriteConf(file string, data []byte) error {
	t, err := s.writer()
	if err == nil {
		err = checkFileName(file)
	}
	if err == nil {
		err = t.putFile("conf/"+file, data, true)
	}
	if err != nil {
		return fmt.Errorf("save conf/%s: %w", file, err)
	}
	return nil
}
