package state

import (
	"errors"
	"fmt"
	"time"

	"certd/acme"
)

// A Staged key is the one that a target which reuses its key will go over to:
// made ahead, so that it can be announced (RFC 6698) before it is used.
type Staged struct {
	Target  string    `json:"target"`   // file name in desired/
	KeyID   string    `json:"key_id"`   // it is in keys/
	KeyType string    `json:"key_type"` // such as "ecdsa-p256"
	Created time.Time `json:"created"`  // UTC
}

func stagedFile(target string) string { return targetFile("staged", target) }

// SaveStaged makes durable which key a target will go over to, in place of
// another. The key is in keys/ already.
func (s *Store) SaveStaged(k Staged) error {
	t, err := s.writer()
	if err == nil {
		err = errors.Join(checkFileName(k.Target), checkID("key", k.KeyID))
	}
	var data []byte
	if err == nil {
		data, err = encodeJSON(k)
	}
	if err == nil {
		err = t.putFile(stagedFile(k.Target), data, false)
	}
	if err != nil {
		return fmt.Errorf("save the next key of %s: %w", k.Target, err)
	}
	return nil
}

// staged reads staged/.
func (r *snapshotReader) staged() error {
	return r.documents("staged", func(name string) error {
		var k Staged
		if err := readJSON(r.root, name, &k); err != nil {
			return err
		}
		if checkFileName(k.Target) != nil || name != stagedFile(k.Target) {
			return fmt.Errorf("its target %q is not that of its name", acme.Sanitize(k.Target))
		}
		if err := checkID("key", k.KeyID); err != nil {
			return err
		}
		r.snap.Staged[k.Target] = k
		return nil
	})
}
