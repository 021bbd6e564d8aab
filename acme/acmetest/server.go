package acmetest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A tlsServer is an HTTPS server on the loopback interface.
type tlsServer struct {
	addr    string
	server  *http.Server
	running sync.WaitGroup
}

// serveTLS starts handler at address, empty for a free port, with HTTP/2.
func serveTLS(address string, config *tls.Config, handler http.Handler, logTo io.Writer) (*tlsServer, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("acmetest: listening on %s: %w", address, err)
	}
	return serve(listener, config, handler, logTo), nil
}

// serve starts handler on listener: HTTP/1.1 and HTTP/2 over TLS, or plain
// HTTP/1.1 if config is nil, or what config.NextProtos allows.
func serve(listener net.Listener, config *tls.Config, handler http.Handler, logTo io.Writer) *tlsServer {
	s := &tlsServer{
		addr: listener.Addr().String(),
		server: &http.Server{
			Handler:           handler,
			TLSConfig:         config.Clone(),
			ErrorLog:          log.New(logTo, "", 0),
			ReadHeaderTimeout: 30 * time.Second,
			Protocols:         new(http.Protocols),
		},
	}
	s.server.Protocols.SetHTTP1(true)
	s.server.Protocols.SetHTTP2(config != nil && len(config.NextProtos) == 0)
	s.running.Go(func() {
		// The errors are ErrServerClosed, or clients see that nobody answers.
		if config == nil {
			_ = s.server.Serve(listener)
			return
		}
		_ = s.server.ServeTLS(listener, "", "")
	})
	return s
}

// url returns the server's URL with path.
func (s *tlsServer) url(path string) string { return "https://" + s.addr + path }

// close closes the listener and every connection; it does not wait for handlers.
func (s *tlsServer) close() error {
	err := s.server.Close()
	s.running.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
