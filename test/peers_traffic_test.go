package test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// A list of headers that may pass left out the ones that vendors want, such as their version.
// Sources: Infisical/agent-vault#104, Infisical/agent-vault#133
// Here: All headers pass but those that are credentials, in both directions.
func TestPeer_agent_vault_104_VendorHeadersPass(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor)))
	u.Handle("", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Ratelimit-Remaining", "7")
		w.Header().Set("Openai-Organization", "org")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
	}))
	headers := []string{"anthropic-version: 2023-06-01", "anthropic-beta: a,b", "OpenAI-Organization: org", "Stripe-Version: 2025-01-01", "Idempotency-Key: 1", "X-Goog-User-Project: p", "Notion-Version: 1", "Range: bytes=0-1", "Accept: text/event-stream", "X-Request-Id: r"}
	a := g.get("/p/x", append(headers, withKey)...)
	a.want(t, 200, "proxy-access-granted")
	got := one(t, u)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if got.Header.Get(name) != value {
			t.Errorf("%s is %q", name, got.Header.Get(name))
		}
	}
	if a.Header.Get("X-Ratelimit-Remaining") != "7" || a.Header.Get("Openai-Organization") != "org" || len(a.Header["Set-Cookie"]) != 2 {
		t.Errorf("the caller got %v", a.Header)
	}
}

// Answers beyond 100 MB were cut, and looked whole to the client.
// Sources: Infisical/agent-vault#210, Infisical/agent-vault#227
// Here: Bodies pass in both directions without a limit. An answer that the vendor breaks off is broken off for the caller.
func TestPeer_agent_vault_227_NothingIsCut(t *testing.T) {
	const size = 110 << 20
	g, u := startPeer(t, proxies(peerProxy("p", vendor)))
	u.Handle("/down", rrtest.Download(size))
	u.Handle("/broken", rrtest.BreakOff("half"))
	want, err := rrtest.Digest(rrtest.Content(size))
	if err != nil {
		t.Fatal(err)
	}
	client := rrtest.HTTP1(t, nil)
	res, err := client.Do(rrtest.Request(t, "GET", "http://"+g.addr+"/p/down", "", withKey))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := rrtest.Digest(res.Body); err != nil || got != want || res.ContentLength != size {
		t.Errorf("%s, %d bytes announced, %v", got, res.ContentLength, err)
	}
	broken, err := client.Do(rrtest.Request(t, "GET", "http://"+g.addr+"/p/broken", "", withKey))
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Body.Close()
	if _, err := rrtest.Digest(broken.Body); err == nil {
		t.Error("half an answer looks whole")
	}
}

// A body of known length was sent in chunks, which some vendors refuse.
// Sources: onecli/onecli#102
// Here: Content-Length stays what it was, also where rules have read the body.
func TestPeer_onecli_102_ContentLengthStays(t *testing.T) {
	for name, rules := range map[string]string{"no rules": "", "rules that read the body": "default deny\nallow POST /x {\nbody $.a ^1$\n}"} {
		t.Run(name, func(t *testing.T) {
			seen, status := wireOf(t, proxies(peerProxy("p", vendor, rules)), "POST /p/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n"+withKey+"\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"a\":\"1\"}")
			if status != 200 || !strings.Contains(seen, "\r\nContent-Length: 9\r\n") || strings.Contains(seen, "Transfer-Encoding") || !strings.HasSuffix(seen, `{"a":"1"}`) {
				t.Errorf("got %d, and on the wire:\n%s", status, seen)
			}
		})
	}
}

// wireOf is what the gateway puts on the wire for a request.
func wireOf(t *testing.T, site, request string) (seen string, status int) {
	t.Helper()
	setSecrets(t)
	u := rrtest.NewRawUpstream(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	g := start(t, site, "UPSTREAM", u.Addr)
	a := rrtest.Raw(t, g.addr, request)
	return u.Received(), a.Status
}

// A signature covered headers that proxies on the way add or change, so that the service computed another
// one; a port in Host did the same.
// Sources: superfly/tokenizer#42, superfly/tokenizer#43, Infisical/agent-vault#195
// Here: What is signed is what leaves: the host without its scheme's port, and none of the headers that Caddy sets. The region and the
// service are the configured ones.
func TestPeer_tokenizer_42_ForwardingHeadersAreNotSigned(t *testing.T) {
	t.Setenv("RR_AWS", awsSecret)
	g, u := startPeer(t, proxies(peerProxy("p", "sigv4 {\naccess_key_id "+awsID+"\nsecret_access_key {env.RR_AWS}\nregion eu-west-1\nservice s3\n}")))
	g.get("/p/bucket/key", withKey, "X-Forwarded-For: 10.0.0.1", "Via: 1.0 x", "X-Amz-Date: 20200101T000000Z", "X-Amz-Security-Token: evil", "User-Agent: test").want(t, 200, "proxy-access-granted")
	got := one(t, u)
	auth := got.Header.Get("Authorization")
	if !strings.Contains(auth, "/eu-west-1/s3/aws4_request") || got.Contains("evil") || strings.HasPrefix(got.Header.Get("X-Amz-Date"), "2020") {
		t.Errorf("the upstream got %v", got.Header)
	}
	_, signed, _ := strings.Cut(auth, "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	for _, name := range []string{"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via", "user-agent", "accept-encoding"} {
		if strings.Contains(";"+signed+";", ";"+name+";") {
			t.Errorf("%s is signed: %s", name, signed)
		}
	}
	if !strings.Contains(";"+signed+";", ";host;") {
		t.Errorf("the host is not signed: %s", signed)
	}
}

// When the proxy tried another upstream, it sent what it had put on the request for the first one.
// Sources: caddyserver/caddy#7569
// Here: The credential is written for each attempt, on a request of its own, once.
func TestPeer_caddy_7569_EachAttemptHasItsCredential(t *testing.T) {
	site := strings.Replace(proxies(peerProxy("p", "custom {\nheader X-Vendor-Key {env.RR_VENDOR}\nquery key {env.RR_VENDOR}\n}")), "rr_gateway\n", "rr_proxy p {\nlb_try_duration 20s\nlb_try_interval 50ms\n}\n", 1)
	setSecrets(t)
	port := rrtest.FreePort(t)
	g := start(t, site, "UPSTREAM", rrtest.Addr(port))
	done := make(chan answer)
	go func() { done <- g.get("/x?a=1", withKey) }()
	g.WaitLog("upstream roundtrip") // the first attempt is over
	u := rrtest.NewUpstream(t)
	u.Handle("", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }))
	forward(t, rrtest.Addr(port), u.Addr)
	a := <-done
	a.want(t, 200, "proxy-access-granted")
	got := one(t, u)
	if v := got.Header["X-Vendor-Key"]; len(v) != 1 || v[0] != vendorKey || got.URI != "/x?a=1&key="+vendorKey || got.Contains(callerKey) {
		t.Errorf("the upstream got %s with %v", got.URI, got.Header)
	}
}

// Error pages and later handlers saw the request on which the credential had been put.
// Sources: caddyserver/caddy
// Here: The credential is on the copy that leaves, never on the request that `handle_errors`, `handle_response`, templates or logs
// see.
// Topic: lifecycle
func TestPeer_Requirement_ErrorRoutesSeeNoCredential(t *testing.T) {
	site := proxies(peerProxy("p", "custom {\nheader X-Vendor-Key {env.RR_VENDOR}\nquery key {env.RR_VENDOR}\ncookie c {env.RR_VENDOR}\n}"))
	site = strings.Replace(site, "throttle off", "throttle off\nerrors pass", 1)
	site = strings.Replace(site, "rr_gateway\n", "rr_gateway {\n@bad status 418\nhandle_response @bad {\nreverse_proxy ECHO\n}\n}\nhandle_errors {\nreverse_proxy ECHO\n}\n", 1)
	echo := rrtest.NewUpstream(t)
	g, u := startPeer(t, site, "ECHO", echo.Addr)
	u.Handle("/teapot", rrtest.Status(418, "teapot"))
	u.Handle("/break", rrtest.BreakOff(""))
	for _, path := range []string{"/p/teapot?a=1", "/p/break", "/p//bad", "/nobody/x"} {
		g.get(path, withKey)
	}
	seen := received(echo)
	if len(seen) < 2 {
		t.Fatalf("error routes were asked %d times", len(seen))
	}
	for _, r := range seen {
		if r.Contains(vendorKey) || r.Contains(callerKey) {
			t.Errorf("an error route got %s with %v", r.URI, r.Header)
		}
	}
}

// A plugin that reads bodies left none for the upstream.
// Sources: ggicci/caddy-jwt#78
// Here: A body that a rule has read goes on whole, and byte for byte.
// Topic: lifecycle
func TestPeer_caddy_jwt_78_TheBodyIsNotConsumed(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor, "default deny\nallow POST /x {\nbody $.a ^1$\n}")))
	body := "{ \"a\" : \"1\" ,\n\"pad\":\"" + strings.Repeat("x", 200_000) + "\"}"
	for range 3 {
		g.do("POST", "/p/x", body, withKey, "Content-Type: application/json").want(t, 200, "proxy-access-granted")
		if got := one(t, u); got.BodySize != int64(len(body)) || !strings.HasPrefix(body, got.Body) {
			t.Errorf("%d of %d bytes arrived", got.BodySize, len(body))
		}
	}
	g.do("POST", "/p/x", strings.Replace(body, `"1"`, `"2"`, 1), withKey, "Content-Type: application/json").want(t, 403, "proxy-access-denied")
	silent(t, u)
}

// forward listens at one address and passes connections on to another.
func forward(t *testing.T, at, to string) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			serving.Go(func() { _, _ = io.Copy(out, in); out.Close() })
			serving.Go(func() { _, _ = io.Copy(in, out); in.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
}
