package rr_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
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
