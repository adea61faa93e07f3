package rrtest

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestNothingLeaksWhenCaddyUpstreamsAndClientsStop(t *testing.T) {
	NoLeak(t)
	ca, port := NewCA(t), FreePort(t)
	cert, key := ca.Files(t, "localhost")
	u := NewUpstream(t)
	config := "https://localhost:" + strings.TrimPrefix(Addr(port), "127.0.0.1:") +
		" {\n\ttls " + cert + " " + key + "\n\treverse_proxy " + u.URL + "\n}"
	c := Start(t, config)
	for range 3 {
		if err := c.Reload(config); err != nil {
			t.Fatal(err)
		}
	}
	url := "https://localhost:" + strings.TrimPrefix(Addr(port), "127.0.0.1:")
	for _, client := range []func() int{
		func() int { return Send(t, HTTP1(t, ca), Request(t, "GET", url, "")).Status },
		func() int { return Send(t, HTTP2(t, ca), Request(t, "GET", url, "")).Status },
		func() int { return Send(t, HTTP3(t, ca), Request(t, "GET", url, "")).Status },
	} {
		if got := client(); got != 200 {
			t.Errorf("got %d", got)
		}
	}
}

func TestALeakIsFound(t *testing.T) {
	before := goleak.IgnoreCurrent()
	stop := make(chan struct{})
	defer close(stop)
	go func() { <-stop }()
	if err := goleak.Find(before); err == nil {
		t.Error("a goroutine that stays is not found")
	}
}
