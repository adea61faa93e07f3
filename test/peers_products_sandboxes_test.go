package test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// A relay that wrote in one direction did not read in the other, and both ends waited for each other for
// ever.
// Sources: NVIDIA/OpenShell#610
// Here: Both directions of a WebSocket pass independently: megabytes go either way at once.
func TestPeer_openshell_610_BothWaysAtOnce(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor)))
	u.Handle("/ws", rrtest.WebSocketEcho)
	status, c := rrtest.WebSocket(t, nil, "http://"+g.addr+"/p/ws", withKey)
	if status != 101 {
		t.Fatal(status)
	}
	const messages = 200
	text := strings.Repeat("x", 64<<10)
	c.SetReadLimit(1 << 20)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	sent := make(chan error, 1)
	go func() {
		var err error
		for range messages {
			if err == nil {
				err = c.Write(ctx, websocket.MessageText, []byte(text))
			}
		}
		sent <- err
	}()
	for i := range messages {
		_, got, err := c.Read(ctx)
		if err != nil || string(got) != text {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// Malformed values of Authorization were read as something, or ended in an error of the proxy.
// Sources: github/gh-aw-firewall#3314, github/gh-aw-firewall#4744
// Here: What is not exactly a credential is none: 401, never 5xx, and nothing reaches the upstream.
func TestPeer_gh_aw_firewall_3314_MalformedAuthorization(t *testing.T) {
	g, u := startOne(t)
	for _, value := range []string{
		"", " ", "Bearer", "Bearer ", "Bearer  ", "Bearer\t", "Bearer " + callerKey + " x", "Bearer " + callerKey + ",", "Bearer " + callerKey + ", Bearer x",
		"Bearer Bearer " + callerKey, "Bearer \"" + callerKey + "\"", "Bearer token=" + callerKey, "Token " + callerKey, "Bearer:" + callerKey, "Bearer=" + callerKey, "Bearer" + callerKey,
		"Basic", "Basic ", "Basic Og==", "Basic Ym9i", "Basic Ym9iOg==", "Basic Ym9iOnNlc2FtZQ", "Basic Ym9iOnNlc2FtZQ== x", "Basic =", "Basic " + strings.Repeat("A", 9000),
		"DPoP", "Negotiate YII=", "\x80\xff", strings.ToUpper(callerKey), callerKey[:20] + " " + callerKey[20:], "undefined", "null", "Bearer null", "Bearer undefined", "Bearer [object Object]",
	} {
		answer, status := raw(t, g.addr, "GET /v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: "+value+"\r\nConnection: close\r\n\r\n")
		if status != 401 {
			t.Errorf("%.60q: got %d: %.200s", value, status, answer)
		}
	}
	silent(t, u)
}

// What the environment of the proxy held, other secrets among them, came out: to child processes, in error texts, in
// what it told of itself.
// Sources: github/gh-aw-firewall#6250, github/gh-aw-firewall#6410
// Here: Of the environment only the variables are read that the configuration names, and none is shown: not by the admin endpoint, not in logs, answers
// or what upstreams get.
func TestPeer_gh_aw_firewall_6250_TheEnvironmentStays(t *testing.T) {
	const canary = "a-secret-of-something-else-8f1d22c0a7"
	t.Setenv("RR_SOMETHING_ELSE", canary)
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, strings.Replace(oneProxy, "rr_proxy p", "log {\n\t\tformat rr\n\t}\n\trr_proxy p", 1), "UPSTREAM", u.Addr)
	var shown strings.Builder
	for _, path := range []string{"/v1/x?q={env.RR_SOMETHING_ELSE}", "/v1/{env.RR_SOMETHING_ELSE}", "/v9", "/v1//"} {
		a, _ := raw(t, g.addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\n"+withKey+"\r\nX-Env: {env.RR_SOMETHING_ELSE} ${RR_SOMETHING_ELSE} %RR_SOMETHING_ELSE%\r\nConnection: close\r\n\r\n")
		shown.WriteString(a)
	}
	if err := g.reload(strings.Replace(oneProxy, "{env.RR_VENDOR}", "{env.RR_NOPE}", 1)); err == nil {
		t.Error("it loads")
	} else {
		shown.WriteString(err.Error())
	}
	for _, path := range []string{"/config/", "/metrics", "/debug/vars", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/rr/tokens", "/rr/health", "/rr/openapi.json", "/rr/clients/default/credentials"} {
		shown.WriteString(g.Admin("GET", path, "").Body)
	}
	for _, r := range received(u) {
		fmt.Fprint(&shown, r)
	}
	shown.WriteString(g.Logs())
	if i := strings.Index(shown.String(), canary); i >= 0 {
		t.Errorf("it is shown: …%s…", shown.String()[max(0, i-200):i+60])
	}
	if shown.Len() < 10000 {
		t.Error("nothing was looked at")
	}
}
