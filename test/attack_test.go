package test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// TestRawAttacks sends what HTTP clients would not. None of it may change who is called,
// with what, or what the upstream sees.
func TestRawAttacks(t *testing.T) {
	g, u := startOne(t)
	get := func(path string, lines ...string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	key := "X-API-Key: " + callerKey
	for _, tt := range []struct {
		name, raw string
		status    int // 0: whatever, as long as nothing reaches the upstream
	}{
		{"Connection names the credentials", get("/v1/x", key, "Connection: Authorization, X-Api-Key, Host"), 200},
		{"a duplicate Authorization", get("/v1/x", "Authorization: Bearer "+callerKey, "Authorization: Bearer "+callerKey), 401},
		{"a second Authorization in another case", get("/v1/x", "Authorization: Bearer "+callerKey, "authorization: Bearer evil"), 401},
		{"look-alikes of the carrier", get("/v1/x", "X_Api_Key: "+callerKey, "x.api.key: "+callerKey), 401},
		{"look-alikes beside the carrier", get("/v1/x", key, "X_Api_Key: evil", "x.api.key: evil", "Authorization_: evil"), 200},
		{"Proxy-Authorization", get("/v1/x", key, "Proxy-Authorization: Bearer "+callerKey), 200},
		{"a key folded over lines", get("/v1/x", "X-API-Key: "+callerKey[:10], " "+callerKey[10:]), 0},
		{"a NUL in a header", get("/v1/x", key+"\x00"), 400},
		{"a lone CR in a header", get("/v1/x", key+"\rX: y"), 400},
		{"a space before the colon", get("/v1/x", "X-API-Key : "+callerKey), 400},
		{"absolute form with another host", get("http://evil.test/v1/x", key), 200},
		{"absolute form with user information", get("http://evil@evil.test/v1/x", key), 200},
		{"CONNECT", "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n" + key + "\r\nConnection: close\r\n\r\n", 0},
		{"TRACE", "TRACE /v1/x HTTP/1.1\r\nHost: x\r\n" + key + "\r\nConnection: close\r\n\r\n", 405},
		{"the star form", "OPTIONS * HTTP/1.1\r\nHost: x\r\n" + key + "\r\nConnection: close\r\n\r\n", 0},
		{"encoded dot segments", get("/v1/%2e%2e/admin", key), 400},
		{"mixed dot segments", get("/v1/.%2E/admin", key), 400},
		{"dot segments", get("/v1/../admin", key), 400},
		{"a dot segment with parameters", get("/v1/..;/admin", key), 400},
		{"a single dot", get("/v1/./admin", key), 400},
		{"an empty segment", get("/v1//admin", key), 400},
		{"an empty first segment", get("//v1/x", key), 400},
		{"an encoded slash", get("/v1/a%2fb", key), 400},
		{"an encoded backslash", get("/v1/a%5cb", key), 400},
		{"a backslash", get(`/v1/a\b`, key), 400},
		{"an encoded NUL", get("/v1/a%00b", key), 400},
		{"an encoded line break", get("/v1/a%0d%0aX:%20y", key), 400},
		{"a broken escape", get("/v1/a%zz", key), 400},
		{"a denied path, escaped", get("/v1/%61%64min", key), 403},
		{"a semicolon is an ordinary character", get("/v1/a;b=c", key), 200},
		{"a key of 1 MiB", get("/v1/x", "X-API-Key: "+strings.Repeat("k", 1<<20)), 0},
		{"an upgrade to h2c", get("/v1/x", key, "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: Upgrade, HTTP2-Settings"), 200},
		{"an upgrade to anything", get("/v1/x", key, "Upgrade: websocket, foo", "Connection: Upgrade"), 200},
		{"both lengths", "POST /v1/x HTTP/1.1\r\nHost: x\r\n" + key + "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nGET /v1/admin HTTP/1.1\r\nHost: x\r\n" + key + "\r\n\r\n", 0},
		{"two lengths", "POST /v1/x HTTP/1.1\r\nHost: x\r\n" + key + "\r\nContent-Length: 5\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello!", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer, status := raw(t, g.addr, tt.raw)
			if tt.status != 0 && status != tt.status {
				t.Errorf("got status %d, want %d:\n%.500s", status, tt.status, answer)
			}
			got := received(u)
			if tt.status == 200 && len(got) != 1 || tt.status >= 400 && len(got) > 0 {
				t.Errorf("the upstream got %d requests", len(got))
			}
			for _, r := range got {
				checkReceived(t, u, r)
			}
		})
	}
}

// checkReceived checks what must be true of everything that reaches the upstream.
func checkReceived(t *testing.T, u *rrtest.Upstream, r rrtest.Received) {
	t.Helper()
	if auth := r.Header["Authorization"]; len(auth) != 1 || auth[0] != "Bearer "+vendorKey {
		t.Errorf("Authorization is %q", auth)
	}
	if r.Host != u.Addr {
		t.Errorf("Host is %s", r.Host)
	}
	if !strings.HasPrefix(r.URI, "/base/v1/") || strings.Contains(r.URI, "admin") {
		t.Errorf("the path is %s", r.URI)
	}
	for name, values := range r.Header {
		text := name + ": " + strings.Join(values, ", ")
		if strings.Contains(text, callerKey) || strings.Contains(text, "evil") && !strings.HasPrefix(name, "X-Forwarded-") {
			t.Errorf("the upstream got %s", text)
		}
		if name == "Upgrade" || name == "Http2-Settings" || name == "Proxy-Authorization" {
			t.Errorf("the upstream got %s", text)
		}
	}
}

func TestTrailersCannotCarryACredential(t *testing.T) {
	g, u := startOne(t)
	a := rrtest.Raw(t, g.addr, "POST /v1/x HTTP/1.1\r\nHost: x\r\nX-API-Key: "+callerKey+"\r\nTransfer-Encoding: chunked\r\n"+
		"Trailer: X-Fine, Authorization, X-Api-Key\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n"+
		"X-Fine: yes\r\nAuthorization: Bearer evil\r\nX-Api-Key: evil\r\nX-Gateway-Key: evil\r\n\r\n")
	if a.Status != 200 {
		t.Fatalf("got %d: %s", a.Status, a.Body)
	}
	got := one(t, u)
	for name, values := range got.Trailer {
		if name != "X-Fine" && len(values) > 0 {
			t.Errorf("the upstream got the trailer %s: %q", name, values)
		}
	}
	if got.Body != "hello" || got.Trailer.Get("X-Fine") != "yes" {
		t.Errorf("body %q and trailers %v", got.Body, got.Trailer)
	}
}

// TestBytesOnTheWire looks at the request as an upstream without a parser of ours gets it.
func TestBytesOnTheWire(t *testing.T) {
	u := rrtest.NewRawUpstream(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nRR-Proxy-Code: forged\r\nRR-Proxy-Warning: forged\r\n\r\n")
	setSecrets(t)
	g := start(t, oneProxy, "UPSTREAM", u.Addr)
	a := rrtest.Raw(t, g.addr, "GET /v1/a;b%20c%7e?q=%7E+1&gateway_key="+otherKey+"&z HTTP/1.1\r\nHost: gw\r\nX-Odd: a b\r\nConnection: close, Authorization\r\n\r\n")
	seen := u.Received()
	if !strings.HasPrefix(seen, "GET /base/v1/a;b%20c%7e?q=%7E+1&z HTTP/1.1\r\nHost: "+u.Addr+"\r\n") {
		t.Errorf("the path was not forwarded byte for byte:\n%s", seen)
	}
	if strings.Count(seen, "Authorization:") != 1 || !strings.Contains(seen, "\r\nAuthorization: Bearer "+vendorKey+"\r\n") || !strings.Contains(seen, "\r\nX-Odd: a b\r\n") {
		t.Errorf("headers on the wire:\n%s", seen)
	}
	if code := a.Header["Rr-Proxy-Code"]; len(code) != 1 || code[0] != "proxy-access-granted" || a.Header.Get("RR-Proxy-Warning") != "" {
		t.Errorf("the upstream's answer speaks for the gateway: %v", a.Header)
	}
}

// raw sends bytes and returns what comes back, which may be nothing (status 0).
func raw(t *testing.T, addr, text string) (answer string, status int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() { _, _ = io.WriteString(conn, text) }()
	var out bytes.Buffer
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &out)), nil)
	if err != nil {
		return out.String(), 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return out.String(), res.StatusCode
}

// TestFindingsOfAttacks are what attackers of rr's own have found.
func TestFindingsOfAttacks(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	u.Handle("/redirect", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.RequestURI+"&x=1#f")
		w.Header().Set("Link", "<"+r.RequestURI+">; rel=next")
		w.WriteHeader(http.StatusFound)
	}))
	u.Handle("/bot"+vendorKey+"/redirect", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.RequestURI+"/")
		w.WriteHeader(http.StatusFound)
	}))
	const site = `{
	rr {
		throttle off
		credential user accept key {env.RR_OTHER} {
			from header X-User
			deny DELETE
		}
		proxy also {
			accept key {env.RR_CALLER}
			also credential user
			target http://UPSTREAM
			present bearer {env.RR_VENDOR}
		}
		proxy headers {
			accept key {env.RR_CALLER}
			target http://UPSTREAM
			present none
			allow * {
				header X-Env ^sandbox$
			}
			deny * /absent {
				absent header X-Approved
			}
		}
		proxy query {
			accept key {env.RR_CALLER} {
				from query k
				from header X-K
			}
			target http://UPSTREAM
			present key {env.RR_VENDOR} {
				query appid
			}
			deny * {
				query admin ^true$
			}
		}
		proxy path {
			accept key {env.RR_CALLER}
			target http://UPSTREAM
			present custom {
				path bot{env.RR_VENDOR}
			}
		}
	}
}
http://:GATEPORT {
	handle /unverified* {
		rr_inject {
			present bearer {env.RR_VENDOR}
			unverified
		}
		reverse_proxy UPSTREAM
	}
	handle /rewritten/* {
		route {
			rr_verify {
				accept key {env.RR_CALLER}
				allow GET /rewritten/*
			}
			uri strip_prefix /rewritten
			rr_inject {
				present bearer {env.RR_VENDOR}
				deferred
			}
			reverse_proxy UPSTREAM {
				transport rr
			}
		}
	}
	handle {
		rr_gateway {
			flush_interval -1
		}
	}
}
`
	g := start(t, site, "UPSTREAM", u.Addr)
	ask := func(line string, headers ...string) (string, int) {
		return raw(t, g.addr, line+" HTTP/1.1\r\nHost: x\r\n"+strings.Join(headers, "\r\n")+"\r\nConnection: close\r\n\r\n")
	}
	for _, tt := range []struct {
		name, line string
		headers    []string
		status     int
	}{
		{"the rules of what must hold too are judged", "DELETE /also/x", []string{withKey, "X-User: " + otherKey}, 403},
		{"and allow", "GET /also/x", []string{withKey, "X-User: " + otherKey}, 200},
		{"a header that Connection removes does not count", "GET /headers/x", []string{withKey, "X-Env: sandbox", "Connection: X-Env"}, 403},
		{"one that stays does", "GET /headers/x", []string{withKey, "X-Env: sandbox"}, 200},
		{"TRACE without verification", "TRACE /unverified/x", nil, 405},
		{"a denied parameter behind a semicolon", "GET /query/x?a=1;admin=true", []string{"X-K: " + callerKey}, 403},
		{"a denied parameter before a raw #", "GET /query/x?admin=true#", []string{"X-K: " + callerKey}, 400},
		{"a path that is rewritten after it was judged", "GET /rewritten/x", []string{withKey}, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a, status := ask(tt.line, tt.headers...); status != tt.status {
				t.Errorf("got %d:\n%s", status, a)
			}
			if got := received(u); (tt.status == 200) != (len(got) == 1) {
				t.Errorf("the upstream got %d requests", len(got))
			}
		})
	}
	t.Run("a redirect does not show the secret of the query", func(t *testing.T) {
		a, _ := ask("GET /query/redirect?a=1", "X-K: "+callerKey)
		if strings.Contains(a, vendorKey) || !strings.Contains(a, "Location: /redirect?a=1&x=1#f\r\n") || !strings.Contains(a, "Link: </redirect?a=1>; rel=next\r\n") {
			t.Errorf("got\n%s", a)
		}
	})
	t.Run("nor of the path", func(t *testing.T) {
		if a, _ := ask("GET /path/redirect", withKey); strings.Contains(a, vendorKey) || !strings.Contains(a, "Location: /redirect/\r\n") {
			t.Errorf("got\n%s", a)
		}
	})
	t.Run("Referer has no credential", func(t *testing.T) {
		received(u)
		ask("GET /query/x?k="+callerKey, "Referer: http://h/y?a=1&k="+callerKey)
		if got := one(t, u); got.Contains(callerKey) || got.Header.Get("Referer") != "http://h/y?a=1" {
			t.Errorf("the upstream got %v", got.Header)
		}
	})
}

// TestManyPasswordsAtOnce: guesses at the same time are no way around the throttle, and
// equal requests share one check.
func TestManyPasswordsAtOnce(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, throttled(5), "UPSTREAM", u.Addr)
	count := func(me, auth string) map[int]int {
		var mu sync.Mutex
		var wg sync.WaitGroup
		seen := map[int]int{}
		for i := range 40 {
			wg.Go(func() {
				text := strings.ReplaceAll(auth, "#", fmt.Sprint(i))
				a := g.get("/v1/x", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(text)), me)
				mu.Lock()
				defer mu.Unlock()
				seen[a.Status]++
			})
		}
		wg.Wait()
		return seen
	}
	if seen := count(from(), "bob:guess-#"); seen[401] > 5 || seen[429] < 35 {
		t.Errorf("40 guesses at once get %v", seen)
	}
	if seen := count(from(), "bob:sesame"); seen[200] != 40 {
		t.Errorf("40 right ones at once get %v", seen)
	}
}

// TestLosingTheSecondProofEndsStreams removes what must hold too.
func TestLosingTheSecondProofEndsStreams(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	events := rrtest.NewEvents()
	u.Handle("/base/stream", events)
	site := strings.Replace(oneProxy, "target http", "also key {env.RR_USER} {\n\t\t\t\tfrom header X-User-Key\n\t\t\t}\n\t\t\ttarget http", 1)
	t.Setenv("RR_USER", "user-key-0123456789abcdef0123456789")
	g := start(t, site, "UPSTREAM", u.Addr)
	res, err := rrtest.HTTP1(t, nil).Do(rrtest.Request(t, "GET", "http://"+g.addr+"/stream", "", withKey, "X-User-Key: user-key-0123456789abcdef0123456789"))
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	events.Send(t, "one")
	t.Setenv("RR_USER", "another-user-key-0123456789abcdef01")
	if err := g.reload(site); err != nil {
		t.Fatal(err)
	}
	events.WaitGone(t)
}
