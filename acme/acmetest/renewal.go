package acmetest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"certd/acme"
)

// SetRenewalInfo makes the CA answer body, whatever it is, when it is asked for
// the renewal information of the certificate certPEM (RFC 9773 §4.2). Its status
// stays 200 and its Retry-After six hours.
func (c *CA) SetRenewalInfo(certPEM []byte, body string) error {
	request, err := json.Marshal(map[string]string{"Certificate": string(certPEM), "ARIResponse": body})
	if err != nil {
		return fmt.Errorf("acmetest: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.roots)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	res, err := client.Post(c.Management()+"/set-renewal-info/", "application/json", bytes.NewReader(request))
	if err != nil {
		return fmt.Errorf("acmetest: set-renewal-info: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("acmetest: set-renewal-info: status %s", res.Status)
	}
	return nil
}

// SetWindowT is SetRenewalInfo with a window and, unless it is empty, an
// explanation, for tests.
func (c *CA) SetWindowT(t testing.TB, certPEM []byte, start, end time.Time, explanation string) {
	t.Helper()
	if err := c.SetRenewalInfo(certPEM, Window(start, end, explanation)); err != nil {
		t.Fatal(err)
	}
}

// Window returns a body of renewal information (RFC 9773 §4.2).
func Window(start, end time.Time, explanation string) string {
	info := map[string]any{"suggestedWindow": map[string]time.Time{"start": start.UTC(), "end": end.UTC()}}
	if explanation != "" {
		info["explanationURL"] = explanation
	}
	body, err := json.Marshal(info)
	if err != nil {
		return err.Error() // a year that JSON has no form for: no window
	}
	return string(body)
}

// Renewal is how the scripted CA deals with RFC 9773. Its functions are called
// one at a time.
type Renewal struct {
	// Info answers who asks for renewal information.
	Info func(certID string) (status int, header http.Header, body string)
	// Refuse decides about a newOrder that replaces a certificate: nil accepts
	// it, a Problem refuses it with its Status, Type and Detail.
	Refuse func(certID string) *acme.Problem
	// Mute leaves "replaces" out of orders.
	Mute bool
}

// handleRenewalInfo answers GET renewalInfo (RFC 9773 §4.1). ca.mu is held.
func (ca *FaultyCA) handleRenewalInfo(x *exchange) {
	if ca.renewal == nil || ca.renewal.Info == nil || x.request.Method != http.MethodGet {
		x.problem(http.StatusNotFound, "malformed", "there is no renewal information")
		return
	}
	status, header, body := ca.renewal.Info(x.id)
	for name, values := range header {
		x.header[name] = values
	}
	x.header.Set("Content-Type", "application/json")
	x.status, x.body = status, []byte(body)
}

// refuses answers a newOrder that replaces a certificate which it must not.
func (ca *FaultyCA) refuses(x *exchange, certID string) bool {
	if certID == "" || ca.renewal == nil || ca.renewal.Refuse == nil {
		return false
	}
	p := ca.renewal.Refuse(certID)
	if p != nil {
		x.problem(p.Status, p.Type, p.Detail)
	}
	return p != nil
}
