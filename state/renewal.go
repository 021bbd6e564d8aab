package state

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"certd/acme"
)

func renewalFile(certID string) string { return "renewal/" + certID + ".json" }

// SaveRenewal makes durable what is known of a certificate's renewal. What is
// there already is not written again.
func (s *Store) SaveRenewal(r Renewal) error {
	t, err := s.writer()
	if err == nil && !isID(r.ID) {
		err = fmt.Errorf("%q is no certificate ID", acme.Sanitize(r.ID))
	}
	var data []byte
	if err == nil {
		data, err = encodeJSON(r)
	}
	if err == nil {
		err = t.putFile(renewalFile(r.ID), data, false)
	}
	if err != nil {
		return fmt.Errorf("save renewal information of %s: %w", r.ID, err)
	}
	return nil
}

// renewals reads what renewal/ has of the certificates in live/, in parallel, and
// looks at the names of the rest. What is about another identifier than the
// certificate has is left out.
func (r *snapshotReader) renewals() error {
	live := make(map[string]bool, len(r.snap.Live))
	for _, id := range r.snap.Live {
		live[id] = true
	}
	var mine []string // certificate IDs
	err := r.documents("renewal", func(name string) error {
		id := strings.TrimSuffix(path.Base(name), ".json")
		if !isID(id) {
			return errors.New("its name is not that of a certificate")
		}
		if live[id] {
			mine = append(mine, id)
		}
		return nil
	})
	if err != nil || len(mine) == 0 {
		return err
	}
	dir, err := openFolder(r.root, "renewal")
	if err != nil {
		return fmt.Errorf("open renewal: %w", err)
	}
	defer dir.close()
	found, errs := make([]Renewal, len(mine)), make([]error, len(mine))
	parallel(len(mine), func(i int, buf *buffers) {
		var data []byte
		if data, _, errs[i] = dir.read(mine[i]+".json", &buf.small); errs[i] == nil {
			errs[i] = decodeJSON(data, &found[i])
		}
	})
	for i, id := range mine {
		found[i].ID = id
		switch {
		case errors.Is(errs[i], fs.ErrNotExist):
		case errs[i] != nil:
			r.broken(renewalFile(id), errs[i])
		case found[i].ARIID == r.snap.Certificates[id].ARIID:
			r.snap.Renewals[id] = found[i]
		}
	}
	return nil
}
