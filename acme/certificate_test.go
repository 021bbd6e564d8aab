package acme

import (
	"encoding/pem"
	"slices"
	"strings"
	"testing"
)

func TestCertificateAnswers(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	block := func(kind, data string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(data)}))
	}
	leaf := string(ca.Certificate().Raw)
	one := block("CERTIFICATE", leaf)
	tests := []struct {
		name  string
		body  string
		links []string
		class Class // of the failure; empty means success
		want  string
	}{
		{"chain", one + one, nil, "", ""},
		{"CRLF and text", "subject\r\n" + strings.ReplaceAll(one, "\n", "\r\n"), nil, "", ""},
		{"alternates", one, []string{"Link", "<" + ca.URL + "/cert/2>;rel=\"alternate\"", "Link", "</cert/3>;rel=alternate, </dir>;rel=index"}, "", ""},
		{"foreign up", one, []string{"Link", "<https://evil.example/>;rel=up"}, "", ""},
		{"foreign alternate", one, []string{"Link", "<https://evil.example/>;rel=alternate", "Link", "<" + ca.URL + "/cert/2>;rel=\"alternate\""}, "", ""},
		{"empty", "", nil, ClassTransient, "chain is empty"},
		{"a page", "<html>not yet</html>", nil, ClassTransient, "the answer begins: <html>not yet</html>"},
		{"a key", block("EC PRIVATE KEY", "x"), nil, ClassTransient, "invalid PEM cert type"},
		{"junk inside", one + block("CERTIFICATE", "x"), nil, ClassTransient, "certificate 2 of the chain cannot be read"},
		{"50 certificates", strings.Repeat(one, 50), nil, ClassTransient, "too long"},
		{"too big", one + strings.Repeat("\n", maxCertificate), nil, ClassTransient, "more than 262144"},
	}
	for _, tt := range tests {
		ca.json("/cert/1", 200, tt.body, tt.links...)
		chain, err := c.Certificate(t.Context(), ca.URL+"/cert/1")
		if tt.class != "" {
			asProblem(t, tt.name, err, tt.class, tt.want)
			continue
		}
		if err != nil || string(chain.DER[0]) != leaf {
			t.Errorf("%s: got %+v, %v, want the leaf first", tt.name, chain, err)
			continue
		}
		if tt.name == "foreign alternate" && !slices.Equal(chain.Alternates, []string{ca.URL + "/cert/2"}) {
			t.Errorf("beside a foreign alternate there are %v, want certificate 2", chain.Alternates)
		}
		if tt.name == "alternates" && !slices.Equal(chain.Alternates, []string{ca.URL + "/cert/2", ca.URL + "/cert/3"}) {
			t.Errorf("alternates are %v, want certificates 2 and 3", chain.Alternates)
		}
	}
}

func TestOrderPages(t *testing.T) {
	t.Parallel()
	ca, c := newFake(t)
	ca.json("/orders", 200, `{"orders":["/order/1","`+ca.URL+`/order/2"]}`, "Link", `</orders2>;rel="next"`, "Link", `<https://evil.example/>;rel="index"`)
	ca.json("/orders2", 200, `{"orders":["/order/3"]}`)
	got, err := c.OpenOrders(t.Context(), ca.URL+"/orders")
	if err != nil || !slices.Equal(got, []string{ca.URL + "/order/1", ca.URL + "/order/2", ca.URL + "/order/3"}) {
		t.Errorf("got %v, %v, want orders 1 to 3", got, err)
	}

	ca.json("/orders2", 200, `{"orders":[]}`, "Link", `</orders2>;rel="next"`)
	if _, err := c.OpenOrders(t.Context(), ca.URL+"/orders"); err != nil {
		t.Errorf("a list whose last page leads to itself gave %v", err)
	}
	if n := ca.count("POST", "/orders2"); n != maxOrderPages {
		t.Errorf("%d pages were read, want %d", n, maxOrderPages)
	}
	ca.json("/orders", 200, `{"orders":["`+strings.Repeat(`/order/1","`, 5000)+`/order/2"]}`, "Link", `</orders>;rel="next"`)
	if got, err := c.OpenOrders(t.Context(), ca.URL+"/orders"); err != nil || len(got) > maxList {
		t.Errorf("a long list gave %d orders, %v, want at most %d", len(got), err, maxList)
	}
	for body, want := range map[string]string{`{}`: "missing", `{"orders":{}}`: "cannot unmarshal", `{"orders":["https://evil.example/"]}`: "not its own origin"} {
		ca.json("/orders", 200, body)
		if _, err := c.OpenOrders(t.Context(), ca.URL+"/orders"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the list %s gave %v, want an error with %q", body, err, want)
		}
	}
}
