package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// customProxy is a proxy whose upstream wants the token of a login; LINES are options of
// custom_token besides those that are here.
const customProxy = `
{
	log {
		format rr
		level DEBUG
	}
	rr {
		throttle off
		proxy p {
			accept key {env.RR_CALLER}
			target UPSTREAM
			present custom_token {
				url LOGIN/login?client=rr
				LINES
			}
		}
	}
}
:GATEPORT {
	log {
		format rr
	}
	rr_proxy p
}
`

const loginPassword = `pass-"word\-0123456789-{env.HOME}`

const loginLines = "body `{\"user\":\"svc\",\"password\":\"{secret.password}\"}`\nsecret password {env.LOGIN_PASSWORD}\ntoken $.session.token\nexpires_in $.session.ttl\nto header X-Session"

// loginServer gives a session to whoever has the password.
type loginServer struct {
	*rrtest.Upstream
	password atomic.Pointer[string]
	logins   atomic.Int64
	slow     atomic.Int64            // nanoseconds
	fault    atomic.Pointer[handler] // answers in its place
}

type handler func(w http.ResponseWriter, r *http.Request)

func newLogin(t testing.TB) *loginServer {
	t.Helper()
	l := &loginServer{Upstream: rrtest.NewUpstream(t)}
	right := loginPassword
	l.password.Store(&right)
	l.Handle("/login", http.HandlerFunc(l.login))
	return l
}

func (l *loginServer) login(w http.ResponseWriter, r *http.Request) {
	n := l.logins.Add(1)
	body, _ := io.ReadAll(r.Body) // else nobody sees that the client leaves
	select {
	case <-time.After(time.Duration(l.slow.Load())):
	case <-r.Context().Done():
		return
	}
	if f := l.fault.Load(); f != nil {
		(*f)(w, r)
		return
	}
	var got struct{ User, Password string }
	if err := json.Unmarshal(body, &got); err != nil || got.User != "svc" || got.Password != *l.password.Load() || r.URL.RawQuery != "client=rr" || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, `{"error":"wrong `+got.Password+`"}`, http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, `{"ok":true,"session":{"token":"session-token-%d-0123456789","ttl":3600}}`, n)
}

func (l *loginServer) fails(f handler) { l.fault.Store(&f) }

func startCustom(t testing.TB, l *loginServer, lines string) (*gateway, *rrtest.Upstream) {
	t.Helper()
	t.Setenv("RR_CALLER", callerKey)
	t.Setenv("LOGIN_PASSWORD", loginPassword)
	u := rrtest.NewUpstream(t)
	return start(t, customProxy, "LINES", lines, "LOGIN", l.URL, "UPSTREAM", u.URL), u
}

func noSecretsLogged(t testing.TB, g *gateway, more ...string) {
	t.Helper()
	quoted, _ := json.Marshal(loginPassword)
	for _, s := range append(more, loginPassword, strings.Trim(string(quoted), `"`), "0123456789-{env", "session-token-", callerKey) {
		if strings.Contains(g.Logs(), s) {
			t.Errorf("%s is in the log", s)
		}
	}
}

func TestCustomToken(t *testing.T) {
	l := newLogin(t)
	g, u := startCustom(t, l, loginLines)
	if n := len(l.Received()); n != 0 {
		t.Errorf("%d logins before the first request", n)
	}
	for range 3 {
		a := g.get("/x", bearer(callerKey), "X-Session: forged", "x_session: forged")
		a.want(t, 200, "proxy-access-granted")
		got := one(t, u)
		if s := got.Header["X-Session"]; len(s) != 1 || s[0] != "session-token-1-0123456789" || got.Header.Get("Authorization") != "" || got.Contains("forged") || got.Contains(callerKey) {
			t.Errorf("the upstream got %v", got.Header)
		}
	}
	if login := one(t, l.Upstream); login.Method != "POST" || login.Contains(callerKey) {
		t.Errorf("the login was %+v", login)
	}
	// what it is not made of, a reload may change
	if err := g.reload(strings.Replace(customProxy, "LINES", "LINES\n}\nallow GET /x {", 1)); err != nil {
		t.Fatal(err)
	}
	g.get("/x", bearer(callerKey)).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("X-Session") != "session-token-1-0123456789" {
		t.Errorf("after a reload it is %s", got.Header.Get("X-Session"))
	}
	if err := g.reload(strings.Replace(customProxy, "LINES", "LINES\nsuccess $.ok", 1)); err != nil {
		t.Fatal(err)
	}
	g.get("/x", bearer(callerKey)).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("X-Session") == "session-token-1-0123456789" {
		t.Error("a changed definition has the old token")
	}
	noSecretsLogged(t, g)
}

// TestCustomTokenFromEveryPlace: the token is found where the answer has it, and put where
// the upstream wants it.
func TestCustomTokenFromEveryPlace(t *testing.T) {
	for name, tt := range map[string]struct {
		lines  string
		answer handler
		want   string // header, query or cookie of the upstream's request
	}{
		"cookie to cookie": {
			"token cookie SESSION\nto cookie SESSION",
			func(w http.ResponseWriter, _ *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "SESSION", Value: "c0ffee", HttpOnly: true, MaxAge: 600})
			}, "Cookie: a=b; SESSION=c0ffee",
		},
		"header to header": {
			"token header X-Auth-Token\nto header X-Auth-Token",
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Auth-Token", "tok")
				w.WriteHeader(201)
			}, "X-Auth-Token: tok",
		},
		"body to query": {
			"token body\nto query access_token\nttl 1h",
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "tok&en\n") }, "?a=b&access_token=tok%26en",
		},
		"JSON to Authorization": {
			"token $.d[0].t",
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"d":[{"t":"tok"}]}`) }, "Authorization: Bearer tok",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogin(t)
			l.fails(tt.answer)
			g, u := startCustom(t, l, tt.lines)
			g.get("/x?a=b&access_token=forged", "Authorization: Bearer "+callerKey, "Cookie: a=b; SESSION=forged", "X-Auth-Token: forged").want(t, 200, "proxy-access-granted")
			got := one(t, u)
			header, value, isHeader := strings.Cut(tt.want, ": ")
			if isHeader && got.Header.Get(header) != value || !isHeader && !strings.HasSuffix(got.URI, tt.want) {
				t.Errorf("the upstream got %s %v", got.URI, got.Header)
			}
		})
	}
}

// TestCustomTokenCold has 500 callers on a cold cache, of which the first hangs up.
func TestCustomTokenCold(t *testing.T) {
	l := newLogin(t)
	l.slow.Store(int64(500 * time.Millisecond))
	g, u := startCustom(t, l, loginLines)
	ctx, hangUp := context.WithCancel(t.Context())
	first := make(chan struct{})
	go func() {
		defer close(first)
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+g.addr+"/first", nil)
		req.Header.Set("Authorization", "Bearer "+callerKey)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	rrtest.Eventually(t, "somebody logs in", func() bool { return l.logins.Load() > 0 })
	hangUp()
	<-first
	if ok := many(t, g, 500); ok != 500 {
		t.Errorf("%d of 500 were served", ok)
	}
	if n := l.logins.Load(); n != 1 {
		t.Errorf("%d logins", n)
	}
	for _, got := range u.Received() {
		if got.Header.Get("X-Session") != "session-token-1-0123456789" {
			t.Fatalf("the upstream got %v", got.Header)
		}
	}
}

// many makes n calls at once and returns how many were answered 200.
func many(t testing.TB, g *gateway, n int) int64 {
	t.Helper()
	var ok atomic.Int64
	var wait sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	for range n {
		wait.Go(func() {
			if a := rrtest.Send(t, client, rrtest.Request(t, "GET", "http://"+g.addr+"/x", "", bearer(callerKey))); a.Status == 200 {
				ok.Add(1)
			}
		})
	}
	wait.Wait()
	return ok.Load()
}

// A token from a login that is not OAuth was not renewed when the upstream refused it.
// Sources: coupergateway/couper
// Here: `custom_token` shares the cache, the single fetch and the one retry with all other tokens.
// Topic: retry
func TestPeer_Requirement_CustomTokensAreRetriedToo(t *testing.T) {
	l := newLogin(t)
	g, u := startCustom(t, l, loginLines)
	var good atomic.Value
	good.Store("session-token-1-0123456789")
	u.Handle("/x", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Session") != good.Load() {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	g.get("/x", bearer(callerKey)).want(t, 200, "proxy-access-granted")
	time.Sleep(5100 * time.Millisecond) // a token that has just come is not renewed
	good.Store("session-token-2-0123456789")
	if ok := many(t, g, 50); ok != 50 {
		t.Errorf("%d of 50 were served", ok)
	}
	if n := l.logins.Load(); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
	good.Store("none")
	a := g.get("/x", bearer(callerKey))
	a.want(t, 401, "proxy-access-granted") // the upstream's own
	noSecretsLogged(t, g)
}

// TestCustomTokenFaults: whatever the endpoint does, the caller has its 502 in time, the
// upstream gets nothing, and the log has the reason and no secrets.
func TestCustomTokenFaults(t *testing.T) {
	const leak = "leak-in-the-answer-0123456789"
	elsewhere := rrtest.NewUpstream(t)
	writes := func(status int, body string, headers ...string) handler {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, tt := range map[string]struct {
		answer handler
		reason string
	}{
		"hangs":         {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no token came within 1s"},
		"429":           {writes(429, leak, "Retry-After", "120"), "answers 429"},
		"500":           {writes(500, leak), "answers 500"},
		"401":           {writes(401, leak), "answers 401"},
		"HTML":          {writes(200, "<html>"+leak), "not valid JSON"},
		"wrong JSON":    {writes(200, `{"session":"`+leak+`"}`), "there is nothing at $.session.token"},
		"null":          {writes(200, `{"session":{"token":null,"x":"`+leak+`"}}`), "is null"},
		"a number":      {writes(200, `{"session":{"token":5}}`), "is a number"},
		"empty":         {writes(200, `{"session":{"token":""}}`), "it is empty"},
		"a placeholder": {writes(200, `{"session":{"token":"{env.HOME}"}}`), "placeholder"},
		"a line break":  {writes(200, `{"session":{"token":"a\r\nX-Admin: `+leak+`"}}`), "cannot carry"},
		"100 MB": {func(w http.ResponseWriter, _ *http.Request) {
			block := []byte(strings.Repeat("x", 1<<20))
			for range 100 {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, "too large"},
		"a redirect": {writes(302, "", "Location", elsewhere.URL+"/?"+leak), "redirects are not followed"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogin(t)
			l.fails(tt.answer)
			g, u := startCustom(t, l, loginLines+"\ntimeout 1s")
			began := time.Now()
			for range 3 {
				a := g.get("/x", bearer(callerKey), "X-Session: forged")
				if a.want(t, 502, "target-credential-failed"); strings.Contains(a.Body, "login") || strings.Contains(a.Body, l.Addr) {
					t.Errorf("the caller is told %s", a.Body)
				}
			}
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("three calls took %v", took)
			}
			g.refusal(func(e map[string]any) bool { return strings.Contains(fmt.Sprint(e["reason"]), tt.reason) })
			if n := len(received(u)); n != 0 {
				t.Errorf("the upstream got %d requests", n)
			}
			noSecretsLogged(t, g, leak)
		})
	}
	if n := len(elsewhere.Received()); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

// TestCustomTokenSecretFile: a new password is used from the moment it is there, and the
// session of the old one is dropped.
func TestCustomTokenSecretFile(t *testing.T) {
	l := newLogin(t)
	path := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(loginPassword)
	g, u := startCustom(t, l, strings.Replace(loginLines, "{env.LOGIN_PASSWORD}", "{file."+path+"}", 1))
	g.get("/x", bearer(callerKey)).want(t, 200, "proxy-access-granted")
	first := one(t, u).Header.Get("X-Session")
	next := "another-password-0123456789"
	l.password.Store(&next)
	write(next)
	rrtest.Eventually(t, "there is a session of the new password", func() bool {
		a := g.get("/x", bearer(callerKey))
		a.want(t, 200, "proxy-access-granted")
		return one(t, u).Header.Get("X-Session") != first
	})
	if n := l.logins.Load(); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
	noSecretsLogged(t, g, next)
}

// TestCustomTokensThatDifferShareNothing: two credentials that differ in one thing never
// have the same token.
func TestCustomTokensThatDifferShareNothing(t *testing.T) {
	base := map[string]string{
		"url": "LOGIN/login?client=rr", "body": "`{\"user\":\"svc\",\"password\":\"{secret.password}\"}`", "secret": "password {env.LOGIN_PASSWORD}",
		"token": "$.session.token", "request_header": "X-Client rr", "to": "header X-Session",
	}
	variants := map[string][2]string{
		"0":              {"method", "POST"},
		"the query":      {"url", "LOGIN/login?client=other"},
		"the body":       {"body", "`{\"user\":\"other\",\"password\":\"{secret.password}\"}`"},
		"the secret":     {"secret", "password {env.LOGIN_PASSWORD_2}"},
		"the path":       {"token", "$.session['token']"},
		"a header":       {"request_header", "X-Client other"},
		"the place":      {"to", "header X-Session Token"},
		"the method":     {"method", "PUT"},
		"the life":       {"ttl", "7m"},
		"the success":    {"success", "$.ok"},
		"basic":          {"basic", "svc {secret.password}"},
		"the timeout":    {"timeout", "4s"},
		"when it ends":   {"expires_at", "$.session.until"},
		"how long it is": {"expires_in", "$.session.ttl"},
	}
	l := newLogin(t)
	var n atomic.Int64
	l.fails(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"ok":true,"session":{"token":"token-%d","ttl":3600}}`, n.Add(1))
	})
	t.Setenv("RR_CALLER", callerKey)
	t.Setenv("LOGIN_PASSWORD", loginPassword)
	t.Setenv("LOGIN_PASSWORD_2", loginPassword+"2")
	u := rrtest.NewUpstream(t)
	var proxies strings.Builder
	for name, change := range variants {
		options := map[string]string{}
		for o, v := range base {
			options[o] = v
		}
		options[change[0]] = change[1]
		fmt.Fprintf(&proxies, "proxy %q {\naccept key {env.RR_CALLER}\ntarget %s\npresent custom_token {\n", "v-"+strings.ReplaceAll(name, " ", "-"), u.URL)
		for o, v := range options {
			fmt.Fprintf(&proxies, "%s %s\n", o, v)
		}
		proxies.WriteString("}\n}\n")
	}
	g := start(t, "{\nrr {\nPROXIES}\n}\n:GATEPORT {\nrr_gateway /api/*\n}\n", "PROXIES", strings.ReplaceAll(proxies.String(), "LOGIN/", l.URL+"/"))
	seen := map[string]string{}
	for name := range variants {
		g.get("/api/v-"+strings.ReplaceAll(name, " ", "-")+"/x", bearer(callerKey)).want(t, 200, "proxy-access-granted")
		token := strings.TrimPrefix(one(t, u).Header.Get("X-Session"), "Token ")
		if other, shared := seen[token]; shared || token == "" {
			t.Errorf("%s has the token of %s, %q", name, other, token)
		}
		seen[token] = name
	}
}

// TestCustomTokenValidates: nobody is asked by `caddy validate`.
func TestCustomTokenValidates(t *testing.T) {
	l := newLogin(t)
	t.Setenv("RR_CALLER", callerKey)
	t.Setenv("LOGIN_PASSWORD", loginPassword)
	text := strings.NewReplacer("LINES", loginLines, "LOGIN", l.URL, "UPSTREAM", "https://api.example", "GATEPORT", "0").Replace(customProxy)
	t.Run("with all that it needs", func(t *testing.T) {
		if err := rrtest.Validate(t, text); err != nil {
			t.Error(err)
		}
	})
	t.Run("without its secret", func(t *testing.T) {
		t.Setenv("LOGIN_PASSWORD", "")
		if err := rrtest.Validate(t, text); err == nil || !strings.Contains(err.Error(), "secret password: {env.LOGIN_PASSWORD}") {
			t.Errorf("%v", err)
		}
	})
	if n := len(l.Received()); n != 0 {
		t.Errorf("%d logins", n)
	}
}
