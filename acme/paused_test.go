package acme

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// boulderPaused is what Let's Encrypt answers to newOrder for a paused name.
func boulderPaused(url string) string {
	return "Your account is temporarily prevented from requesting certificates for www.example.com and possibly others. Please visit: " + url
}

func TestPaused(t *testing.T) {
	t.Parallel()
	long := "https://portal.example/sfe/v1/unpause?jwt=" + strings.Repeat("a", 700)
	tests := []struct {
		name, detail, instance string
		paused                 bool
		url                    string
	}{
		{"Boulder's words", boulderPaused("https://portal.example/sfe/v1/unpause?jwt=x.y-z_1"), "", true, "https://portal.example/sfe/v1/unpause?jwt=x.y-z_1"},
		{"a link longer than a text is kept whole", boulderPaused(long), "", true, long},
		{"a full stop after the link is not of it", boulderPaused("https://portal.example/unpause") + ".", "", true, "https://portal.example/unpause"},
		{"the link is the instance", "account paused", "https://ca.example/unpause", true, "https://ca.example/unpause"},
		{"no link", "the account is paused for this name", "", true, ""},
		{"no web link", boulderPaused("javascript:alert(1)//unpause"), "", true, ""},
		{"a link with quotes, for a shell", boulderPaused("https://ca.example/unpause?'$(id)'"), "", true, ""},
		{"a link with a user", boulderPaused("https://ca.example@evil.example/unpause"), "", true, ""},
		{"a link beyond all bounds", boulderPaused("https://ca.example/unpause?" + strings.Repeat("a", 3000)), "", true, ""},
		{"a link in Cyrillic", boulderPaused("https://ca.еxample/unpause"), "", true, ""},
		{"an ordinary limit", "too many certificates (50) already issued for \"example.com\": see https://letsencrypt.org/docs/rate-limits/", "", false, ""},
	}
	for _, tt := range tests {
		body, err := json.Marshal(map[string]any{"type": "urn:ietf:params:acme:error:rateLimited", "detail": tt.detail, "instance": tt.instance})
		if err != nil {
			t.Fatal(err)
		}
		p := answerProblem(&answer{status: http.StatusTooManyRequests, at: time.Now(), body: body, header: http.Header{"Retry-After": {"60"}}}, "newOrder")
		if p.Paused != tt.paused || p.Unpause != tt.url {
			t.Errorf("%s: paused %v, unpause %q; want %v, %q", tt.name, p.Paused, p.Unpause, tt.paused, tt.url)
		}
		if day := time.Until(p.RetryAt) > 23*time.Hour; day != tt.paused || p.Class != ClassWait {
			t.Errorf("%s: class %s, again at %v; want a wait, of a day if it is paused", tt.name, p.Class, p.RetryAt)
		}
		if len(p.Detail) > maxText {
			t.Errorf("%s: the text has %d bytes", tt.name, len(p.Detail))
		}
	}
}

// TestPausedNeedsRateLimited: the words alone, in another error, say nothing.
func TestPausedNeedsRateLimited(t *testing.T) {
	t.Parallel()
	body := []byte(`{"type":"urn:ietf:params:acme:error:dns","detail":"paused.example.com: no such host, see https://ca.example/unpause"}`)
	p := answerProblem(&answer{status: http.StatusBadRequest, at: time.Now(), body: body, header: http.Header{}}, "newOrder")
	if p.Paused || p.Unpause != "" {
		t.Errorf("a DNS error counts as paused: %+v", p)
	}
}

func FuzzDetail(f *testing.F) {
	for _, s := range []string{`"x"`, `1`, `"see https://ca.example/unpause?jwt=x"`, `"https://http://https://"`, `"http://[::1"`, `"https://\u0000"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d detail
		if err := d.UnmarshalJSON(data); err != nil {
			t.Fatal(err)
		}
		if d.text != Sanitize(d.text) {
			t.Errorf("not sanitised: %q", d.text)
		}
		if d.url != "" && (len(d.url) > maxPageURL || d.url != webURL(d.url) || !strings.HasPrefix(d.url, "http")) {
			t.Errorf("no web URL: %q", d.url)
		}
	})
}
