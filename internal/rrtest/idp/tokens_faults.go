package idp

import (
	"net/http"
	"sync"
)

// Fault answers every request to the token endpoint with f, after the request was counted
// and read; nil brings the right answers back.
func (s *Tokens) Fault(f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Status answers every request to the token endpoint with a status and headers, written
// name, value, …
func (s *Tokens) Status(status int, headers ...string) {
	s.Fault(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
	})
}

// Raw answers every request to the token endpoint with a body.
func (s *Tokens) Raw(media, body string) {
	s.Fault(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		_, _ = w.Write([]byte(body))
	})
}

// Hang leaves requests to the token endpoint without an answer until resume is called, or
// until the client leaves. They are then answered rightly.
func (s *Tokens) Hang() (resume func()) {
	held := make(chan struct{})
	s.Fault(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
			s.answer(w, r)
		case <-r.Context().Done():
		}
	})
	return sync.OnceFunc(func() {
		s.Fault(nil)
		close(held)
	})
}
