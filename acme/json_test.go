package acme

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheckObject(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	good := []string{`{}`, ` {"a":1} ` + "\n", `{"a":{"a":[{"a":1},{"a":1}]},"b":null,"A":true}`, `{"a":"a","b":["b","b"]}`, nested(maxDepth)}
	for _, body := range good {
		if err := checkObject([]byte(body)); err != nil {
			t.Errorf("%.60q is refused: %v", body, err)
		}
	}
	bad := []struct{ body, want string }{
		{``, "not a JSON object"},
		{`null`, "not a JSON object"},
		{`[]`, "not a JSON object"},
		{`"x"`, "not a JSON object"},
		{`<html>`, "not a JSON object"},
		{`{"a":1`, "not proper JSON"},
		{`{"a":1,}`, "not proper JSON"},
		{`{"a" 1}`, "not proper JSON"},
		{`{"a":1}{}`, "follows"},
		{`{"a":1} x`, "follows"},
		{`{"a":1,"a":2}`, `key "a" appears twice`},
		{`{"x":[{"b":1,"b":1}]}`, `key "b" appears twice`},
		{nested(maxDepth + 1), "nested deeper"},
		{strings.Repeat("[", 100000), "not a JSON object"},
		{`{"a":` + strings.Repeat("[", 100000), "nested deeper"},
		{"{\"a\":\"\xff\"}", "UTF-8"},
	}
	for _, tt := range bad {
		if err := checkObject([]byte(tt.body)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q gave %v, want an error with %q", tt.body, err, tt.want)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":null}]}`, `{"a":1,"a":2}`, `{"a":1}x`, `[{]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var v map[string]any
		if err := decode(body, &v); err == nil && !json.Valid(body) {
			t.Errorf("%q was accepted, but is not JSON", body)
		}
		if text := quote(body); len(text) > 250 {
			t.Errorf("the quotation of %q has %d bytes", body, len(text))
		}
	})
}
