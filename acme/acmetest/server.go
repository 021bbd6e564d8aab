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

// serveTLS starts handler at address; HTTP/2 is spoken if config offers it.
func serveTLS(address string, config *tls.Config, handler http.Handler, logTo io.Writer) (*tlsServer, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("acmetest: listening on %s: %w", address, err)
	}
	s := &tlsServer{
		addr: listener.Addr().String(),
		server: &http.Server{
			Handler:           handler,
			TLSConfig:         config.Clone(),
			ErrorLog:          log.New(logTo, "", 0),
			ReadHeaderTimeout: 30 * time.Second,
		},
	}
	s.running.Go(func() {
		// The error is ErrServerClosed, or clients see that nobody answers.
		_ = s.server.ServeTLS(listener, "", "")
	})
	return s, nil
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
