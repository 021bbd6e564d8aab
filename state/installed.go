package state

import (
	"fmt"
	"os"
	"time"
)

// Installed is what can be told of a live name beside its certificate.
type Installed struct {
	Switched      time.Time // UTC, when the link in live/ was last made
	ChainNotAfter time.Time // UTC, when the first certificate of fullchain expires
}

// Installed reads what is installed under a live name. It needs no lock and
// changes nothing. The error says what could not be read; what could is returned.
func (s *Store) Installed(name string) (Installed, error) {
	var in Installed
	if err := checkLiveName(name); err != nil {
		return in, fmt.Errorf("live name: %w", err)
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return in, fmt.Errorf("open state directory: %w", err)
	}
	defer root.Close()
	link := "live/" + name
	fi, err := root.Lstat(link)
	if err != nil {
		return in, fmt.Errorf("look at %s: %w", link, err)
	}
	in.Switched = fi.ModTime().UTC()
	data, err := readFile(root, link+"/fullchain")
	if err != nil {
		return in, fmt.Errorf("read %s/fullchain: %w", link, err)
	}
	certs, err := parseChain(data)
	if err != nil {
		return in, fmt.Errorf("read %s/fullchain: %w", link, err)
	}
	for _, c := range certs {
		if in.ChainNotAfter.IsZero() || c.NotAfter.Before(in.ChainNotAfter) {
			in.ChainNotAfter = c.NotAfter.UTC()
		}
	}
	return in, nil
}
