package acme

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxDepth is how deeply the JSON of a CA may nest; RFC 8555 needs four levels.
const maxDepth = 32

// decode reads body into v: exactly one JSON object without repeated keys.
// Members that v does not know are ignored (RFC 8555 §7.1).
func decode(body []byte, v any) error {
	if err := checkObject(body); err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// checkObject returns an error unless body is one JSON object in UTF-8, nested
// no deeper than maxDepth, in which no object repeats a key: two readers of a
// repeated key may disagree about what was said.
func checkObject(body []byte) error {
	if !utf8.Valid(body) {
		return errors.New("the answer is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	tok, err := d.Token()
	if err != nil || tok != json.Delim('{') {
		return errors.New("the answer is not a JSON object")
	}
	if err := checkMembers(d); err != nil {
		return fmt.Errorf("the answer is not proper JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// level is an object or array that is still open.
type level struct {
	keys map[string]bool // seen so far; nil in an array
	key  bool            // the next token is a key
}

// checkMembers reads from d to the end of the object whose brace was just read.
func checkMembers(d *json.Decoder) error {
	open := []level{{keys: map[string]bool{}, key: true}}
	for len(open) > 0 {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		top := &open[len(open)-1]
		switch delim, _ := tok.(json.Delim); {
		case delim == '}' || delim == ']':
			open = open[:len(open)-1]
			continue
		case top.key:
			key, _ := tok.(string) // the decoder lets nothing else pass
			if top.keys[key] {
				return fmt.Errorf("key %q appears twice", clip(key, 50))
			}
			top.keys[key], top.key = true, false
			continue
		case delim != 0:
			if len(open) == maxDepth {
				return fmt.Errorf("nested deeper than %d levels", maxDepth)
			}
			top.key = top.keys != nil
			next := level{}
			if delim == '{' {
				next = level{keys: map[string]bool{}, key: true}
			}
			open = append(open, next)
			continue
		}
		top.key = top.keys != nil
	}
	return nil
}

// quote returns the first 200 bytes of body, sanitised, for an error.
func quote(body []byte) string {
	if len(body) == 0 {
		return "the answer is empty"
	}
	return "the answer begins: " + clip(string(body[:min(len(body), maxText)]), 200)
}
