package rrtest

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Events is a stream of server-sent events whose pace the test decides. One request at a
// time reads it.
type Events struct {
	data chan string
	gone chan struct{}
	end  func()
}

// NewEvents makes a stream without events.
func NewEvents() *Events {
	e := &Events{data: make(chan string), gone: make(chan struct{}, 16)}
	e.end = sync.OnceFunc(func() { close(e.data) })
	return e
}

// Send has the upstream write and flush one event. It returns when the upstream took it.
func (e *Events) Send(t testing.TB, data string) {
	t.Helper()
	select {
	case e.data <- data:
	case <-time.After(patience):
		t.Fatalf("nobody reads the event %q", data)
	}
}

// End ends the stream. Further calls do nothing.
func (e *Events) End() { e.end() }

// WaitGone waits until a request has ended because its caller left.
func (e *Events) WaitGone(t testing.TB) {
	t.Helper()
	select {
	case <-e.gone:
	case <-time.After(patience):
		t.Fatal("the upstream still believes that the caller is there")
	}
}

// ServeHTTP streams events until End, or until the caller has left.
func (e *Events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	_ = flush()
	for {
		select {
		case data, more := <-e.data:
			if !more {
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", data)
			_ = flush()
		case <-r.Context().Done():
			e.gone <- struct{}{}
			return
		}
	}
}
