package acmetest

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"certd/acme"
)

// listenerFaults: the TLS listener is not to be trusted, or not there.
func listenerFaults() []Fault {
	fault := func(name, doc string, class acme.Class, listen func(*listening)) Fault {
		return Fault{Name: "tls/" + name, Doc: doc, Terminal: true, Class: class, listen: listen}
	}
	return []Fault{
		fault("expired", "the CA's own certificate expired yesterday", acme.ClassOperator, func(l *listening) {
			l.certificate = func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, -90), time.Now().AddDate(0, 0, -1)
			}
		}),
		fault("future", "the CA's own certificate begins tomorrow", acme.ClassOperator, func(l *listening) {
			l.certificate = func(c *x509.Certificate) { c.NotBefore = time.Now().AddDate(0, 0, 1) }
		}),
		fault("wrong-host", "the CA's own certificate is for another host", acme.ClassOperator, func(l *listening) {
			l.certificate = func(c *x509.Certificate) {
				c.DNSNames, c.IPAddresses = []string{"ca.example.net"}, []net.IP{net.IPv4(192, 0, 2, 1)}
			}
		}),
		fault("unknown-root", "the CA's own certificate is by a root that is not trusted", acme.ClassOperator, func(l *listening) {
			l.unknownRoot = true
		}),
		fault("tls-1.1", "the CA speaks nothing newer than TLS 1.1", "", func(l *listening) { l.maxVersion = tls.VersionTLS11 }),
		fault("plain", "the CA speaks HTTP without TLS on its https port", "", func(l *listening) { l.plain = true }),
		fault("stall", "the CA accepts connections and never answers the TLS handshake", acme.ClassTransient, func(l *listening) {
			l.hang = true
		}).endless(),
	}
}

// stallFaults: an answer does not come, or does not end.
func stallFaults() []Fault {
	var faults []Fault
	for _, s := range steps() {
		f := s.fault("stall/header", "no answer ever comes").endless()
		f.Class, f.wire = acme.ClassTransient, func(_ http.ResponseWriter, x *exchange) { x.hang() }
		faults = append(faults, f)
	}
	for _, s := range stepsBut("nonce") {
		f := s.fault("stall/body", "half of the answer comes, the rest never").endless()
		f.Class, f.wire = acme.ClassTransient, sendHalfAndHang
		faults = append(faults, f)
	}
	for _, s := range stepsOf("directory", "order", "cert") {
		f := s.fault("trickle", "the answer comes at one byte a second").endless()
		f.Class, f.wire = acme.ClassTransient, trickle
		faults = append(faults, f)
	}
	return faults
}

// connectionFaults: the connection breaks, or brings more than anyone wants.
func connectionFaults() []Fault {
	var faults []Fault
	add := func(f Fault, wire func(http.ResponseWriter, *exchange)) {
		f.Class, f.wire = acme.ClassTransient, wire
		faults = append(faults, f)
	}
	for _, s := range stepsBut("nonce") {
		add(s.fault("reset/body", "the connection is reset in the middle of the answer"), func(w http.ResponseWriter, x *exchange) {
			reset(w, rawAnswer(x), len(x.body)/2)
		})
	}
	for _, s := range steps() {
		add(s.fault("reset/header", "the connection is reset before the answer"), func(w http.ResponseWriter, _ *exchange) {
			reset(w, nil, 0)
		})
	}
	for _, s := range stepsOf("directory", "order", "authz-poll", "cert") {
		add(s.fault("endless-body", "the answer goes on for 64 MiB"), sendEndless)
		f := s.fault("gzip-bomb", "an answer of 1 MiB unpacks to 1 GiB")
		f.Class, f.change = acme.ClassTransient, gzipBomb
		faults = append(faults, f)
	}
	return faults
}

// hang waits until the client gives up or the CA closes.
func (x *exchange) hang() {
	select {
	case <-x.request.Context().Done():
	case <-x.ca.closed:
	}
}

// sendHalfAndHang sends the header and half of the body.
func sendHalfAndHang(w http.ResponseWriter, x *exchange) {
	x.header.Set("Content-Length", fmt.Sprint(len(x.body)))
	half := *x
	half.body = x.body[:len(x.body)/2]
	sendAnswer(w, &half)
	// The client sees the stall with or without what could not be flushed.
	_ = http.NewResponseController(w).Flush()
	x.hang()
}

// trickle sends the body byte by byte, one a second.
func trickle(w http.ResponseWriter, x *exchange) {
	body := x.body
	empty := *x
	empty.body = nil
	x.header.Set("Content-Length", fmt.Sprint(len(body)))
	sendAnswer(w, &empty)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range body {
		if _, err := w.Write(body[i : i+1]); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-x.request.Context().Done():
			return
		case <-x.ca.closed:
			return
		}
	}
}

// sendEndless sends a JSON string, or certificates, for 64 MiB.
func sendEndless(w http.ResponseWriter, x *exchange) {
	chunk := bytes.Repeat([]byte("a"), 64<<10)
	if x.operation == "cert" {
		chunk = bytes.Repeat(x.body, 64<<10/len(x.body))
	} else {
		x.body = []byte(`{"padding":"`)
	}
	sendAnswer(w, x)
	for range 64 << 20 / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// gzipBomb makes the body spaces, compressed as 1,024 members of 1 MiB.
func gzipBomb(x *exchange) {
	var member bytes.Buffer
	z := gzip.NewWriter(&member)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20)) // a bytes.Buffer takes everything
	_ = z.Close()
	x.header.Set("Content-Encoding", "gzip")
	x.body = bytes.Repeat(member.Bytes(), 1024)
}

// rawAnswer returns the answer as HTTP/1.1 text.
func rawAnswer(x *exchange) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", x.status, http.StatusText(x.status), len(x.body))
	for name, values := range x.header {
		for _, value := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	b.WriteString("\r\n")
	return append([]byte(b.String()), x.body...)
}

// sendRaw sends bytes past net/http and closes the connection.
func sendRaw(w http.ResponseWriter, raw []byte) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = conn.Write(raw) // a client that is gone sees the same: the end
	_ = conn.Close()
}

// reset sends raw without its last bytes, and resets the connection.
func reset(w http.ResponseWriter, raw []byte, without int) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = conn.Write(raw[:len(raw)-without])
	if secure, ok := conn.(*tls.Conn); ok {
		if watched, ok := secure.NetConn().(*sniffed); ok {
			watched.reset()
			return
		}
	}
	_ = conn.Close()
}
