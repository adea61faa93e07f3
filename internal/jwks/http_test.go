package jwks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// trusted is a Config for a server on this machine.
func trusted(url string) Config {
	return Config{URL: url, Policy: fetch.Policy{Trusted: true}}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// startReal starts a Source that has a network.
func startReal(t *testing.T, c Config) *Source {
	t.Helper()
	s := New(c)
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

func showKeys(kids ...string) http.Handler { return rrtest.Status(http.StatusOK, keySet(kids...)) }

func TestRealFetch(t *testing.T) {
	rrtest.NoLeak(t)
	s := startReal(t, trusted(serve(t, showKeys("a"))))
	expectFound(t, s, "a")
	expectUnknown(t, s, "b")
}

func TestBadServers(t *testing.T) {
	rrtest.NoLeak(t)
	target := serve(t, showKeys("a"))
	for name, tt := range map[string]struct {
		handler http.Handler
		reason  string
	}{
		"redirect":  {http.RedirectHandler(target, http.StatusFound), "redirect"},
		"oversized": {rrtest.Status(http.StatusOK, strings.Repeat(" ", 512<<10)+keySet("a")), "too large"},
		"HTML":      {rrtest.Status(http.StatusOK, "<!doctype html>"), "JSON"},
		"forbidden": {rrtest.Status(http.StatusForbidden, keySet("a")), "403"},
		"cut":       {rrtest.BreakOff(keySet("a")), "EOF"},
		"hangs":     {rrtest.Hang, "deadline"},
		"slow":      {rrtest.Parts(time.Hour, `{"keys":[`, jwk("a")), "deadline"},
	} {
		c := trusted(serve(t, tt.handler))
		if tt.reason == "deadline" {
			c.Timeout = 50 * time.Millisecond
		}
		s := startReal(t, c)
		begin := time.Now()
		expectUnavailable(t, s, "a")
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("%s: it took %v", name, d)
		}
		s.Stop()
		if err := s.Stats().LastError; name != "hangs" && name != "slow" && (err == nil || !strings.Contains(err.Error(), tt.reason)) {
			t.Errorf("%s: the error is %v, want %q", name, err, tt.reason)
		}
	}
}

// An issuer that the operator trusts must not lead to a service on the gateway's machine.
func TestForeignJWKSURIIsNotTrusted(t *testing.T) {
	rrtest.NoLeak(t)
	ca := rrtest.NewCA(t)
	var mu sync.Mutex
	reached := 0
	inner := tlsServer(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		reached++
		mu.Unlock()
		showKeys("a").ServeHTTP(w, r)
	}))
	var issuer string
	issuer = tlsServer(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rrtest.Status(http.StatusOK, configuration(issuer, inner+"/keys")).ServeHTTP(w, r)
	}))
	s := startReal(t, Config{Issuer: issuer, Policy: fetch.Policy{Trusted: true, RootCAs: ca.Pool}})
	expectUnavailable(t, s, "a")
	if err := s.Stats().LastError; err == nil || !strings.Contains(err.Error(), "private") || reached != 0 {
		t.Errorf("the error is %v, reached %d times", err, reached)
	}
}

func TestRealDiscovery(t *testing.T) {
	rrtest.NoLeak(t)
	ca := rrtest.NewCA(t)
	var issuer string
	issuer = tlsServer(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			showKeys("a").ServeHTTP(w, r)
			return
		}
		rrtest.Status(http.StatusOK, configuration(issuer, issuer+"/keys")).ServeHTTP(w, r)
	}))
	s := startReal(t, Config{Issuer: issuer, Policy: fetch.Policy{Trusted: true, RootCAs: ca.Pool}})
	expectFound(t, s, "a")
}

func tlsServer(t *testing.T, ca *rrtest.CA, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Leaf(t, "127.0.0.1")}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestHundredStartsAndStopsLeaveNothing(t *testing.T) {
	rrtest.NoLeak(t)
	good, hanging := serve(t, showKeys("a")), serve(t, rrtest.Hang)
	refused := "http://" + rrtest.Addr(rrtest.FreePort(t))
	m := new(memory)
	for n := range 100 {
		c := trusted([]string{good, hanging, refused}[n%3])
		c.Storage = m
		s := New(c)
		s.Start()
		if n%2 == 0 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			_, _, err := s.Keys(ctx, "a", true, "EdDSA")
			cancel()
			if u := (*Unavailable)(nil); err != nil && !errors.As(err, &u) && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		s.Stop()
	}
}

func TestStartAndStopAtTheSameTime(t *testing.T) {
	rrtest.NoLeak(t)
	url := serve(t, showKeys("a"))
	for range 100 {
		s := New(trusted(url))
		var group sync.WaitGroup
		for n := range 4 {
			group.Go(func() {
				if n%2 == 0 {
					s.Start()
				} else {
					s.Stop()
				}
			})
			group.Go(func() { _, _, _ = s.Keys(t.Context(), fmt.Sprint(n), true, "EdDSA") })
		}
		group.Wait()
		s.Stop()
	}
}

func BenchmarkKnownKey(b *testing.B) {
	i := newIssuer("a", "b", "c")
	s := newSource(i)
	s.Start()
	defer s.Stop()
	if _, _, err := s.Keys(b.Context(), "b", true, "EdDSA"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	ctx := b.Context()
	for b.Loop() {
		if _, _, err := s.Keys(ctx, "b", true, "EdDSA"); err != nil {
			b.Fatal(err)
		}
	}
}
