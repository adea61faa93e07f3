package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// TestUnusedConnectionsAreBounded has many exchanges at once; few connections stay.
func TestUnusedConnectionsAreBounded(t *testing.T) {
	rrtest.NoLeak(t)
	var open atomic.Int64
	var here sync.WaitGroup
	const many = 3 * maxIdle
	here.Add(many)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		here.Done()
		here.Wait() // until all are here, on a connection of their own
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	client := New(Policy{Trusted: true})
	defer client.Close()
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			u, _ := url.Parse(server.URL)
			if _, err := client.Do(t.Context(), &http.Request{Method: "GET", URL: u}, 10); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	rrtest.Eventually(t, "few connections are open", func() bool { return open.Load() <= maxIdle })
}

// TestAnExchangeWithoutADeadlineGetsOne looks at the context of its request.
func TestAnExchangeWithoutADeadlineGetsOne(t *testing.T) {
	client := New(Policy{Trusted: true})
	defer client.Close()
	var within time.Duration
	client.plain.Proxy = func(r *http.Request) (*url.URL, error) { // which sees the request's context
		if at, ok := r.Context().Deadline(); ok {
			within = time.Until(at)
		}
		return nil, errors.New("no connection")
	}
	u, _ := url.Parse("http://127.0.0.1:9/")
	if _, err := client.Do(context.Background(), &http.Request{Method: "GET", URL: u}, 10); err == nil {
		t.Error("there was an answer")
	}
	if within > longest || within < longest-10*time.Second {
		t.Errorf("it may take %v", within)
	}
	if client.plain.IdleConnTimeout != idleTimeout {
		t.Errorf("unused connections stay for %v", client.plain.IdleConnTimeout)
	}
}
