package test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// secretPage is an answer that quotes what was sent, as careless endpoints do.
const secretPage = "<html>no: client rr with " + oauth2Secret + "</html>"

// huge answers with 100 MB of JSON.
func huge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"access_token":"at-huge","pad":"`)
	block := []byte(strings.Repeat("x", 1<<16))
	for range 100 << 20 / len(block) {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, `"}`)
}

// TestOAuth2Faults: whatever the endpoint does, callers get their answer in time, the log
// says why, and nothing goes to the upstream.
func TestOAuth2Faults(t *testing.T) {
	rrtest.NoLeak(t)
	s := newTokens(t)
	g, u := startOAuth2(t, s, byBasic+"\ntimeout 1s")
	host := strings.TrimPrefix(s.Issuer, "http://")
	for n, tt := range []struct {
		name   string
		fault  func()
		reason string
	}{
		{"it hangs", func() { t.Cleanup(s.Hang()) }, "no token came within 1s"},
		{"it is slow", func() {
			s.Fault(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(200)
				for {
					if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
						return
					}
					select {
					case <-r.Context().Done():
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			})
		}, "no token came within 1s"},
		{"429", func() { s.Status(429, "Retry-After", "30") }, host + ": the endpoint answers 429"},
		{"500", func() { s.Status(500) }, host + ": the endpoint answers 500"},
		{"503 and a page", func() {
			s.Fault(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); _, _ = io.WriteString(w, secretPage) })
		}, host + ": the endpoint answers 503"},
		{"a page", func() { s.Raw("text/html", secretPage) }, host + ": the endpoint's answer is a web page"},
		{"100 MB", func() { s.Fault(huge) }, host + ": the answer is too large"},
		{"no JSON", func() { s.Raw("application/json", `{"access_token":"`+oauth2Secret) }, host + ": the endpoint's answer: it is not valid JSON"},
		{"other JSON", func() { s.Raw("application/json", `[{"access_token":"at-1"}]`) }, "not a JSON object"},
		{"no token", func() { s.Raw("application/json", `{"token":"at-1"}`) }, "has no access_token"},
		{"nothing", func() { s.Status(204) }, "is empty"},
		{"a redirect", func() { s.Status(307, "Location", u.URL+"/?"+oauth2Secret) }, "redirects are not followed"},
		{"a redirect to somebody else", func() { s.Status(302, "Location", "https://evil.example/") }, `status 302 to "evil.example"`},
		{"no HTTP", func() {
			s.Fault(func(w http.ResponseWriter, _ *http.Request) {
				if conn, buffer, err := http.NewResponseController(w).Hijack(); err == nil {
					_, _ = buffer.WriteString(oauth2Secret + "\r\n\r\n")
					_ = buffer.Flush()
					_ = conn.Close()
				}
			})
		}, host + ": "},
		{"a broken answer", func() {
			s.Fault(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, `{"access_token":"at-1"`)
			})
		}, host + ": "},
		{"compressed", func() {
			s.Fault(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "gzip") })
		}, "Content-Encoding"},
		{"it does not know us", func() {
			s.Fault(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(401)
				_, _ = fmt.Fprintf(w, `{"error":"invalid_client","error_description":%q}`, oauth2Secret)
			})
		}, host + ": the endpoint answers 401 invalid_client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.fault()
			// a parameter makes each another credential, of which nothing is remembered
			if err := g.reload(strings.Replace(oauth2Proxy, "LINES", fmt.Sprintf("LINES\nparam case %d", n), 1)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			g.get("/p/", withKey).want(t, 502, "target-credential-failed")
			if took := time.Since(began); took > 1900*time.Millisecond {
				t.Errorf("the caller waited for %v", took)
			}
			g.refusal(func(e map[string]any) bool {
				reason := fmt.Sprint(e["reason"])
				return strings.Contains(reason, tt.reason) && strings.HasPrefix(reason, "oauth2: ") && e["level"] == "error"
			})
			before := s.Count()
			began = time.Now()
			g.get("/p/", withKey).want(t, 502, "target-credential-failed")
			if took := time.Since(began); took > time.Second || s.Count() != before {
				t.Errorf("the endpoint is asked again at once (%d times, %v)", s.Count()-before, took)
			}
		})
	}
	if got := received(u); len(got) != 0 {
		t.Errorf("the upstream got %+v", got)
	}
	noSecrets(t, g)
}

// TestOAuth2WithoutTrust is an endpoint whose certificate nobody vouches for.
func TestOAuth2WithoutTrust(t *testing.T) {
	ca := rrtest.NewCA(t)
	s := idp.NewTLSTokens(t, ca.Leaf(t, "127.0.0.1"), idp.TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: oauth2Secret})
	g, _ := startOAuth2(t, s, byBasic)
	g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	g.refusal(func(e map[string]any) bool { return strings.Contains(fmt.Sprint(e["reason"]), "certificate") })
	if s.Count() != 0 {
		t.Error("it was asked")
	}
	if err := g.reload(strings.Replace(oauth2Proxy, "LINES", "LINES\nca {file."+ca.File+"}", 1)); err != nil {
		t.Fatal(err)
	}
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	noSecrets(t, g)
}

// TestOAuth2OutlivesItsEndpoint: a token that is still good serves while no other can be
// had, to its end.
func TestOAuth2OutlivesItsEndpoint(t *testing.T) {
	s := newTokens(t)
	s.Members(map[string]any{"expires_in": 4})
	g, u := startOAuth2(t, s, byBasic+"\ntimeout 1s")
	began := time.Now()
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	s.Status(500)
	a := g.get("/p/", withKey)
	for ; a.Status == 200; a = g.get("/p/", withKey) {
		if time.Since(began) > 6*time.Second {
			t.Fatal("a token is used after its end")
		}
	}
	if a.want(t, 502, "target-credential-failed"); time.Since(began) < 3900*time.Millisecond {
		t.Errorf("the token served for %v only", time.Since(began))
	}
	if n := s.Count(); n < 2 || n > 5 {
		t.Errorf("the endpoint was asked %d times", n)
	}
	for _, r := range received(u) {
		if !s.Good(r.Header.Get("Authorization")) {
			t.Errorf("the upstream got %q", r.Header.Get("Authorization"))
		}
	}
	s.Fault(nil)
	rrtest.Eventually(t, "there is a token again", func() bool { return g.get("/p/", withKey).Status == 200 })
}

// TestOAuth2RenewsAhead: nobody waits for the next token.
func TestOAuth2RenewsAhead(t *testing.T) {
	s := newTokens(t)
	s.Members(map[string]any{"expires_in": 3})
	g, _ := startOAuth2(t, s, byBasic+"\ntimeout 1s")
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	resume := s.Hang() // so that who waits would be seen
	began := time.Now()
	for s.Count() < 2 {
		one := time.Now()
		g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
		if took := time.Since(one); took > 500*time.Millisecond {
			t.Fatalf("a caller waited for %v", took)
		}
		if time.Since(began) > 3*time.Second {
			t.Fatal("the token is not renewed")
		}
	}
	resume()
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
}

// TestOAuth2Validate: neither loading a configuration nor validating it asks anybody.
func TestOAuth2Validate(t *testing.T) {
	s := newTokens(t)
	s.Down()
	g, _ := startOAuth2(t, s, strings.Replace(byBasic, "token_url TOKENURL", "issuer "+s.Issuer, 1))
	for _, bad := range []struct{ line, err string }{
		{"token_url http://as.example.com/token", "http is for this machine"},
		{"token_url https://user:pw@as.example.com/", "user name or password"},
		{"issuer https://as.example.com/?x=y", "without a query"},
		{"token_url https://as.example.com/#x", "fragment"},
	} {
		err := g.reload(strings.Replace(oauth2Proxy, "LINES", "grant client_credentials\nclient_id rr\nclient_secret x\n"+bad.line, 1))
		if err == nil || !strings.Contains(err.Error(), bad.err) {
			t.Errorf("%s: %v, want %q", bad.line, err, bad.err)
		}
	}
	g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	g.refusal(func(e map[string]any) bool { return strings.Contains(fmt.Sprint(e["reason"]), "discovery: ") })
	if s.Count() != 0 {
		t.Error("somebody was asked")
	}
}
