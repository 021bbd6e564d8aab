package state

import "fmt"

// WriteDesired writes a target file to desired/. Nothing is written if it has
// this content. An existing file whose mode is narrower than that of conf/perm
// keeps it, for it may hold credentials.
func (s *Store) WriteDesired(file string, data []byte) error {
	return s.writeByName("desired", file, data)
}

// WriteConf writes a file to conf/, such as "target" or "responses", as
// WriteDesired does.
func (s *Store) WriteConf(file string, data []byte) error {
	return s.writeByName("conf", file, data)
}

func (s *Store) writeByName(dir, file string, data []byte) error {
	t, err := s.writer()
	if err == nil {
		err = checkFileName(file)
	}
	if err == nil {
		err = t.putFile(dir+"/"+file, data, true)
	}
	if err != nil {
		return fmt.Errorf("save %s/%s: %w", dir, file, err)
	}
	return nil
}

// RemoveDesired removes a target file; one that is not there is fine.
func (s *Store) RemoveDesired(file string) error {
	t, err := s.writer()
	if err == nil {
		err = checkFileName(file)
	}
	if err == nil {
		err = t.remove("desired/" + file)
	}
	if err != nil {
		return fmt.Errorf("remove target %s: %w", file, err)
	}
	return nil
}
