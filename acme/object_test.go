package acme

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDirectoryChecks(t *testing.T) {
	t.Parallel()
	ca, _ := newFake(t)
	tests := []struct {
		name   string
		change map[string]any
		class  Class
		want   string
	}{
		{"no newOrder", map[string]any{"newOrder": nil}, ClassTransient, "newOrder is missing"},
		{"empty newNonce", map[string]any{"newNonce": ""}, ClassTransient, "newNonce is missing"},
		{"number", map[string]any{"newOrder": 5}, ClassTransient, "cannot unmarshal"},
		{"meta is a list", map[string]any{"meta": []int{}}, ClassTransient, "cannot unmarshal"},
		{"downgrade", map[string]any{"newNonce": strings.Replace(ca.URL, "https", "http", 1) + "/nonce"}, ClassOperator, "not https"},
		{"foreign keyChange", map[string]any{"keyChange": "https://evil.example/"}, ClassOperator, "not its own origin"},
		{"foreign revokeCert", map[string]any{"revokeCert": "https://evil.example/"}, ClassOperator, "not its own origin"},
		{"foreign newAuthz", map[string]any{"newAuthz": "https://evil.example/"}, ClassOperator, "not its own origin"},
		{"foreign renewalInfo", map[string]any{"renewalInfo": "https://evil.example/"}, ClassOperator, "not its own origin"},
		{"many CAA names", map[string]any{"meta": map[string]any{"caaIdentities": make([]string, 101)}}, ClassTransient, "more than"},
	}
	for _, tt := range tests {
		ca.json("/dir", 200, ca.directory(tt.change))
		c := ca.client(t, nil)
		_, err := c.Directory(t.Context())
		asProblem(t, tt.name, err, tt.class, tt.want)
		_, err = c.Register(t.Context(), nil, nil)
		asProblem(t, tt.name, err, tt.class, tt.want)
	}
	if n := ca.count("HEAD", "/nonce") + ca.count("POST", "/new-account"); n != 0 {
		t.Errorf("%d requests followed bad directories, want none", n)
	}
	ca.json("/dir", 200, ca.directory(map[string]any{"meta": map[string]any{"termsOfService": 7, "website": "a\nb", "caaIdentities": []string{"CA.example"}}}))
	d, err := ca.client(t, nil).Directory(t.Context())
	if err != nil || d.Terms != "" || d.Website != "a b" || !slices.Equal(d.CAA, []string{"ca.example"}) {
		t.Errorf("got %+v, %v, want odd texts left out and cleaned", d, err)
	}
}

func TestOrderChecks(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	dns := func(names ...string) (ids []any) {
		for _, n := range names {
			ids = append(ids, map[string]any{"type": "dns", "value": n})
		}
		return ids
	}
	many := make([]string, maxList+1)
	for i := range many {
		many[i] = fmt.Sprintf("%s/%d", ca.URL, i)
	}
	tests := []struct {
		name   string
		change map[string]any
		class  Class
		want   string
	}{
		{"no status", map[string]any{"status": nil}, ClassTransient, `unknown order status ""`},
		{"unknown status", map[string]any{"status": "done\n"}, ClassTransient, `unknown order status "done"`},
		{"status is a number", map[string]any{"status": 1}, ClassTransient, "cannot unmarshal"},
		{"odd date", map[string]any{"expires": "soon"}, ClassTransient, "cannot parse"},
		{"no identifiers", map[string]any{"identifiers": nil}, ClassTransient, "no identifiers"},
		{"identifier without type", map[string]any{"identifiers": []any{map[string]any{}}}, ClassTransient, "has no type"},
		{"identifiers of another type", map[string]any{"identifiers": []any{map[string]any{"type": "email", "value": "a@b"}}}, ClassTransient, "unknown type"},
		{"hostile name", map[string]any{"identifiers": dns("../../etc")}, ClassTransient, "no DNS name"},
		{"long name", map[string]any{"identifiers": dns(strings.Repeat("a.", 200))}, ClassTransient, "no DNS name"},
		{"name twice", map[string]any{"identifiers": dns("a.test", "A.test")}, ClassTransient, "twice"},
		{"other name", map[string]any{"identifiers": dns("other.example")}, ClassTransient, "not asked for"},
		{"name too many", map[string]any{"identifiers": dns("www.example.com", "b.test")}, ClassTransient, "not asked for"},
		{"no authorizations", map[string]any{"authorizations": nil}, ClassTransient, "without authorizations"},
		{"authorizations are objects", map[string]any{"authorizations": []any{map[string]any{}}}, ClassTransient, "cannot unmarshal"},
		{"1001 authorizations", map[string]any{"authorizations": many}, ClassTransient, "more than 1000"},
		{"foreign authorization", map[string]any{"authorizations": []string{"https://evil.example/1"}}, ClassOperator, "not its own origin"},
		{"no finalize", map[string]any{"finalize": nil}, ClassTransient, "finalize URL: the URL is missing"},
		{"foreign finalize", map[string]any{"finalize": "//evil.example/f"}, ClassOperator, "not its own origin"},
		{"valid without certificate", map[string]any{"status": "valid"}, ClassTransient, "without a certificate URL"},
		{"plain certificate URL", map[string]any{"status": "valid", "certificate": "http://x/"}, ClassOperator, "not https"},
		{"error is a text", map[string]any{"error": "no"}, ClassTransient, "cannot unmarshal"},
	}
	for _, tt := range tests {
		ca.json("/new-order", 201, ca.order(tt.change), "Location", ca.URL+"/order/1")
		_, err := c.NewOrder(t.Context(), OrderSpec{Identifiers: []Identifier{{"dns", "www.example.com"}}})
		p := asProblem(t, tt.name, err, tt.class, tt.want)
		if p.Operation != "order" || p.Status != 201 {
			t.Errorf("%s: got operation %s and status %d, want order and 201", tt.name, p.Operation, p.Status)
		}
	}
	ca.json("/new-order", 201, ca.order(nil))
	_, err := c.NewOrder(t.Context(), OrderSpec{Identifiers: []Identifier{{"dns", "www.example.com"}}})
	asProblem(t, "no Location", err, ClassTransient, "order URL: the URL is missing")
	_, err = c.NewOrder(t.Context(), OrderSpec{})
	asProblem(t, "empty spec", err, ClassName, "no identifiers")
}

func TestOrderThatIsFine(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	ca.json("/new-order", 201, ca.order(map[string]any{
		"identifiers":    []any{map[string]any{"type": "ip", "value": "2001:DB8:0::1"}, map[string]any{"type": "dns", "value": "*.Example.com"}},
		"authorizations": []string{"/authz/1", ca.URL + "/authz/1", ca.URL + "/authz/2"},
		"profile":        "short", "replaces": "a.b", "somethingNew": map[string]any{"x": 1},
	}), "Location", "/order/1")
	o, err := c.NewOrder(t.Context(), OrderSpec{Identifiers: []Identifier{{"dns", "*.example.com"}, NewIdentifier("2001:db8::1")}, Profile: "short", Replaces: "a.b"})
	if err != nil {
		t.Fatal(err)
	}
	if o.URL != ca.URL+"/order/1" || !slices.Equal(o.Authorizations, []string{ca.URL + "/authz/1", ca.URL + "/authz/2"}) ||
		o.Identifiers[0] != (Identifier{"ip", "2001:db8::1"}) || o.Profile != "short" || o.Replaces != "a.b" || o.Expires.IsZero() {
		t.Errorf("got %+v, want resolved URLs and clean identifiers", o)
	}
	if p := ca.payload(); !strings.Contains(p, `"replaces":"a.b"`) || !strings.Contains(p, `"profile":"short"`) || !strings.Contains(p, `*.example.com`) {
		t.Errorf("newOrder said %s, want identifiers, profile and replaces in it", p)
	}
	ca.json("/dir", 200, ca.directory(map[string]any{"renewalInfo": nil}))
	_, _ = ca.client(t, func(o *Options) { o.KID = ca.URL + "/account/1" }).NewOrder(t.Context(),
		OrderSpec{Identifiers: []Identifier{{"dns", "www.example.com"}}, Replaces: "a.b"})
	if p := ca.payload(); strings.Contains(p, "replaces") {
		t.Errorf("newOrder said %s to a CA without renewal information", p)
	}
}

func TestAuthorizationChecks(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	one := func(change map[string]any) map[string]any {
		return map[string]any{"challenges": []any{ca.challenge(change)}}
	}
	tests := []struct {
		name   string
		change map[string]any
		class  Class
		want   string
	}{
		{"unknown status", map[string]any{"status": "ready"}, ClassTransient, "unknown authorization status"},
		{"no identifier", map[string]any{"identifier": nil}, ClassTransient, "has no type"},
		{"wildcard identifier", map[string]any{"identifier": map[string]any{"type": "dns", "value": "*.a.test"}}, ClassTransient, "wildcard flag"},
		{"challenges are no list", map[string]any{"challenges": "x"}, ClassTransient, "cannot unmarshal"},
		{"path as token", one(map[string]any{"token": "../../../../etc/cron.d/x"}), ClassTransient, "token"},
		{"short token", one(map[string]any{"token": "abc"}), ClassTransient, "token"},
		{"long token", one(map[string]any{"token": strings.Repeat("a", 129)}), ClassTransient, "token"},
		{"number as token", one(map[string]any{"token": 7}), ClassTransient, "token"},
		{"token with newline", one(map[string]any{"token": goodToken + "\n"}), ClassTransient, "token"},
		{"foreign challenge", one(map[string]any{"url": "https://evil.example/"}), ClassOperator, "not its own origin"},
		{"no challenge URL", one(map[string]any{"url": nil}), ClassTransient, "missing"},
		{"unknown challenge status", one(map[string]any{"status": "odd"}), ClassTransient, "unknown challenge status"},
	}
	for _, tt := range tests {
		ca.json("/authz/1", 200, ca.authorization(tt.change))
		_, err := c.Authorization(t.Context(), ca.URL+"/authz/1")
		asProblem(t, tt.name, err, tt.class, tt.want)
	}
}

func TestUnusualChallenges(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	ca.json("/authz/1", 200, ca.authorization(map[string]any{"wildcard": true, "challenges": []any{
		ca.challenge(map[string]any{"token": nil}),
		ca.challenge(map[string]any{"status": nil, "validated": "never"}),
		ca.challenge(map[string]any{"type": "dns-persist-01", "token": nil, "issuer-domain-names": []string{"x"}}),
		ca.challenge(map[string]any{"type": "device-attest-01", "token": []int{1}}),
		ca.challenge(map[string]any{"type": "new-02"}),
		ca.challenge(map[string]any{"type": "odd-01", "status": "waiting"}),
		ca.challenge(map[string]any{"type": "odd-02", "url": "https://evil.example/"}),
		ca.challenge(map[string]any{"type": nil}),
		ca.challenge(map[string]any{"type": "a\nb"}),
		ca.challenge(map[string]any{"type": 7}),
		"text", nil, 7,
	}}))
	z, err := c.Authorization(t.Context(), ca.URL+"/authz/1")
	if err != nil || !z.Wildcard {
		t.Fatalf("got %+v, %v, want a wildcard authorization", z, err)
	}
	thumbprint, err := c.Thumbprint()
	if err != nil {
		t.Fatal(err)
	}
	want := []Challenge{
		{Type: "http-01"},
		{Type: "http-01", Token: goodToken, KeyAuthorization: goodToken + "." + thumbprint},
		{Type: "dns-persist-01", IssuerDomains: []string{"x"}},
		{Type: "device-attest-01"},
		{Type: "new-02", Token: goodToken, KeyAuthorization: goodToken + "." + thumbprint},
	}
	for i := range want {
		want[i].URL, want[i].Status, want[i].Wildcard = ca.URL+"/challenge/1", StatusPending, true
	}
	if !reflect.DeepEqual(z.Challenges, want) {
		t.Errorf("got challenges %+v,\nwant %+v", z.Challenges, want)
	}

	many := slices.Repeat([]any{ca.challenge(nil)}, 500)
	ca.json("/authz/1", 200, ca.authorization(map[string]any{"challenges": many}))
	if z, err := c.Authorization(t.Context(), ca.URL+"/authz/1"); err != nil || len(z.Challenges) != maxChallenges {
		t.Errorf("of 500 challenges: %v, want the first %d", err, maxChallenges)
	}
}

func TestFailedAuthorization(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	failed := func(typ string) map[string]any {
		return map[string]any{"status": "invalid", "challenges": []any{ca.challenge(nil), ca.challenge(map[string]any{"status": "invalid",
			"error": map[string]any{"type": "urn:ietf:params:acme:error:" + typ, "detail": "Fetching http://www.example.com/: 404", "status": 403}})}}
	}
	tests := []struct {
		change map[string]any
		class  Class
		want   string
	}{
		{failed("unauthorized"), ClassName, "fake: authorization: www.example.com: unauthorized (403): Fetching http://www.example.com/: 404"},
		{failed("dns"), ClassName, "www.example.com: dns (403)"},
		{failed("serverInternal"), ClassTransient, "serverInternal"},
		{failed("rateLimited"), ClassWait, "try again after"},
		{map[string]any{"status": "invalid"}, ClassName, "does not say why"},
		{map[string]any{"status": "expired"}, ClassTransient, "the authorization is expired"},
		{map[string]any{"status": "revoked", "challenges": nil}, ClassTransient, "the authorization is revoked"},
	}
	for _, tt := range tests {
		ca.json("/authz/1", 200, ca.authorization(tt.change))
		_, err := c.WaitAuthorization(t.Context(), ca.URL+"/authz/1")
		p := asProblem(t, tt.want, err, tt.class, tt.want)
		if p.Identifier.Value != "www.example.com" || p.Operation != "authz" {
			t.Errorf("%s: got identifier %v and operation %s, want www.example.com and authz", tt.want, p.Identifier, p.Operation)
		}
	}
}

func TestAccountChecks(t *testing.T) {
	t.Parallel()
	ca, _ := newFake(t)
	location := []string{"Location", ca.URL + "/account/7"}
	tests := []struct {
		name, body string
		headers    []string
		class      Class
		want       string
	}{
		{"no Location", `{"status":"valid"}`, nil, ClassTransient, "account URL: the URL is missing"},
		{"foreign Location", `{"status":"valid"}`, []string{"Location", "https://evil.example/1"}, ClassOperator, "not its own origin"},
		{"deactivated", `{"status":"deactivated"}`, location, ClassOperator, "is deactivated"},
		{"unknown status", `{"status":"odd"}`, location, ClassTransient, "unknown account status"},
		{"foreign orders", `{"status":"valid","orders":"https://evil.example/"}`, location, ClassOperator, "not its own origin"},
		{"many contacts", `{"contact":[` + strings.Repeat(`"x",`, maxContacts) + `"x"]}`, location, ClassTransient, "more than 50"},
		{"a page", `<html>`, location, ClassTransient, "the answer begins: <html>"},
	}
	for _, tt := range tests {
		ca.json("/new-account", 201, tt.body, tt.headers...)
		c := ca.client(t, nil)
		_, err := c.Register(t.Context(), nil, nil)
		asProblem(t, tt.name, err, tt.class, tt.want)
		if c.KID() != "" {
			t.Errorf("%s: the client took %s for its account", tt.name, c.KID())
		}
	}
	ca.json("/new-account", 200, `{}`, "Location", "/account/7")
	c := ca.client(t, nil)
	if a, err := c.FindAccount(t.Context()); err != nil || a.Status != StatusValid || c.KID() != ca.URL+"/account/7" {
		t.Errorf("an account without members gave %+v, %v, want it valid with its URL", a, err)
	}
}

func FuzzObjects(f *testing.F) {
	ca, c := newFake(f)
	f.Add([]byte(ca.order(nil)))
	f.Add([]byte(ca.order(map[string]any{"status": "invalid", "error": map[string]any{"type": "x", "subproblems": []any{map[string]any{}}}})))
	f.Add([]byte(ca.authorization(nil)))
	f.Add([]byte(ca.directory(nil)))
	f.Add([]byte(`{"status":"valid","contact":["mailto:a@b"],"orders":"/x"}`))
	ours := func(t *testing.T, urls ...string) {
		for _, url := range urls {
			if url != "" && c.origin.check("URL", url) != nil {
				t.Errorf("%q got through", url)
			}
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a := &answer{url: ca.URL + "/x", status: 200, body: body, at: time.Now(), header: http.Header{"Location": {"/1"}}}
		if o, err := c.parseOrder(a, ca.URL+"/order/1"); err == nil {
			ours(t, append(o.Authorizations, o.Finalize, o.Certificate)...)
			if len(o.Identifiers) == 0 {
				t.Error("an order without identifiers got through")
			}
		}
		if z, err := c.parseAuthorization(a, ca.URL+"/authz/1"); err == nil {
			for _, ch := range z.Challenges {
				ours(t, ch.URL)
				if ch.Token != "" && !ValidToken(ch.Token) {
					t.Errorf("token %q got through", ch.Token)
				}
			}
			_ = z.failure().Error()
		}
		if d, err := c.parseDirectory(a); err == nil {
			ours(t, d.RenewalInfo)
		}
		if account, err := c.parseAccount(a, ca.URL+"/account/1"); err == nil {
			ours(t, account.URL, account.OrdersURL)
		}
	})
}
