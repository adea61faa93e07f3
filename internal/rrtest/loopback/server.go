package loopback

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is an HTTP server that can be away for a while: it comes back at the same address.
type Server struct {
	Handler http.Handler
	TLS     *tls.Config // nil: without TLS

	mu     sync.Mutex
	addr   string
	server *http.Server // nil: down
	served chan struct{}
}

// Addr is where the server is, once it has been up; it does not change.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Up has the server listen. It does nothing when it is up.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	if s.addr == "" {
		port, err := Port()
		if err != nil {
			return err
		}
		s.addr = Addr(port)
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.Handler, TLSConfig: s.TLS, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	s.server, s.served = server, served
	go func() {
		defer close(served)
		if server.TLSConfig != nil {
			_ = server.ServeTLS(listener, "", "")
		} else {
			_ = server.Serve(listener)
		}
	}()
	return nil
}

// Down refuses connections and ends the ones there are. When it returns the port is free.
func (s *Server) Down() {
	s.mu.Lock()
	server, served := s.server, s.served
	s.server = nil
	s.mu.Unlock()
	if server != nil {
		_ = server.Close()
		<-served
	}
}
