package test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// A token was fetched in the context of the first caller who needed it, so that when that caller hung up, all who waited with it
// failed.
// Sources: Infisical/agent-vault, coupergateway/couper
// Here: A fetch has a context of its own. Whoever waits may leave, and takes nobody along.
// Topic: oauth2
func TestPeer_Requirement_TheFirstCallerLeaves(t *testing.T) {
	s := newTokens(t)
	g, u := startOAuth2(t, s, byBasic+"\ntimeout 20s")
	resume := s.Hang()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.addr+"/p/", nil)
		req.Header.Set("X-API-Key", callerKey)
		_, err := http.DefaultTransport.RoundTrip(req)
		left <- err
	}()
	s.WaitCount(t, 1)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 500}}
	defer client.CloseIdleConnections()
	statuses := make([]int, 499)
	var wait sync.WaitGroup
	for n := range statuses {
		wait.Go(func() {
			statuses[n] = rrtest.Send(t, client, rrtest.Request(t, "GET", "http://"+g.addr+"/p/", "", withKey)).Status
		})
	}
	time.Sleep(300 * time.Millisecond) // most of them wait by now; none need to
	leave()
	if err := <-left; err == nil {
		t.Error("the first caller got an answer")
	}
	resume()
	wait.Wait()
	for _, status := range statuses {
		if status != 200 {
			t.Fatalf("a caller got %d", status)
		}
	}
	if n := s.Count(); n != 1 {
		t.Errorf("%d tokens were asked for", n)
	}
	seen := map[string]bool{}
	for _, r := range received(u) {
		seen[r.Header.Get("Authorization")] = true
	}
	if len(seen) != 1 {
		t.Errorf("%d different tokens were sent", len(seen))
	}
}

// Each of many requests that were refused at the same time threw the token away, also the one that another had just
// fetched.
// Sources: BerriAI/litellm#32259, coupergateway/couper
// Here: Only the token that was refused is replaced: fifty refusals at once lead to one new token and fifty good answers.
// Topic: retry
func TestPeer_litellm_32259_FiftyRefusalsOneToken(t *testing.T) {
	s := newTokens(t)
	g, u := startOAuth2(t, s, byBasic)
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	time.Sleep(5200 * time.Millisecond) // a token is not replaced that has just come
	s.RevokeAll()
	var wait sync.WaitGroup
	for n := range 50 {
		wait.Go(func() {
			a := rrtest.Do(t, "POST", "http://"+g.addr+"/p/", fmt.Sprint("body ", n), withKey)
			if a.Status != 200 || a.Header.Get("RR-Proxy-Code") != "proxy-access-granted" {
				t.Errorf("got %d %s", a.Status, a.Header)
			}
		})
	}
	wait.Wait()
	if n := s.Count(); n != 2 {
		t.Errorf("%d tokens were asked for, want 2", n)
	}
	bodies := map[string]int{}
	for _, r := range received(u) {
		if r.Method == "POST" && s.Good(r.Header.Get("Authorization")) {
			bodies[r.Body]++
		}
	}
	if len(bodies) != 50 {
		t.Errorf("%d different bodies arrived", len(bodies))
	}
	// an upstream that refuses every token is asked twice, and its answer is its own
	s.RevokeAll()
	a := g.get("/p/", withKey)
	a.want(t, 401, "proxy-access-granted")
}
