package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// authorizing is an authorize that waits for a browser.
type authorizing struct {
	t     *testing.T
	where *url.URL // what it has printed
	back  string   // the redirect URI
	errs  bytes.Buffer
	ended chan error
}

// authorize runs the command against an API, until it has printed the address.
func authorize(t *testing.T, address string, args ...string) *authorizing {
	t.Helper()
	a := &authorizing{t: t, ended: make(chan error, 1)}
	cmd := &cobra.Command{Use: "rr", SilenceUsage: true}
	populate(cmd, newSession())
	out, in := io.Pipe()
	cmd.SetOut(in)
	cmd.SetErr(&a.errs)
	cmd.SetArgs(append([]string{"authorize", "--address", address}, args...))
	go func() {
		err := cmd.ExecuteContext(t.Context())
		a.ended <- err
		in.CloseWithError(fmt.Errorf("it ended with %w", err))
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if a.where, err = url.Parse(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	a.back = a.where.Query().Get("redirect_uri")
	return a
}

// end waits until the command has ended: with an error that says this, without one if it is
// empty.
func (a *authorizing) end(says string) {
	a.t.Helper()
	select {
	case err := <-a.ended:
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			a.t.Errorf("it ends with %v; want %q", err, says)
		}
	case <-time.After(10 * time.Second):
		a.t.Fatal("it does not end")
	}
	for _, secret := range []string{"code-", "CANARY", a.where.Query().Get("state")} {
		if strings.Contains(a.errs.String(), secret) {
			a.t.Errorf("standard error shows %q: %s", secret, a.errs.String())
		}
	}
	if conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(a.back, "http://"), "/callback")); err == nil {
		conn.Close()
		a.t.Error("it listens still")
	}
}

// browse opens an address as a browser does that is sent on by a provider.
func browse(t *testing.T, where string, headers ...string) rrtest.Answer {
	t.Helper()
	headers = append([]string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Referer: https://provider.example/"}, headers...)
	return rrtest.Send(t, &http.Client{Timeout: 10 * time.Second, Transport: new(http.Transport)}, rrtest.Request(t, "GET", where, "", headers...))
}

// checkPage checks a page that a browser gets.
func checkPage(t *testing.T, a rrtest.Answer, status int, words string) {
	t.Helper()
	h := a.Header
	if a.Status != status || !strings.Contains(a.Body, words) || h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "" ||
		h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the browser gets %d %v %s; want %d %q", a.Status, h, a.Body, status, words)
	}
	if status != 404 && (!strings.HasPrefix(h.Get("Content-Type"), "text/html") || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("Referrer-Policy") != "no-referrer") {
		t.Errorf("the page has %v", h)
	}
	for _, secret := range []string{"code-", "CANARY", "access_denied", "<script"} {
		if strings.Contains(a.Body, secret) {
			t.Errorf("the page shows what the address has: %s", a.Body)
		}
	}
}

// TestAuthorizeWithABrowser is authorize with the API and a provider, and a browser that
// follows the provider.
func TestAuthorizeWithABrowser(t *testing.T) {
	r := newRealAPI(t)
	s := idp.NewTokens(t, idp.TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: canary})
	r.file("secret", canary)
	r.rr("credentials create --type target --kind oauth2 --name drive --grant authorization_code --token-url " + s.URL() +
		" --authorization-url " + s.Issuer + idp.PathAuthorize + " --client-id rr --secret-file secret")
	r.fails("authorize drive --wait 0", "/redirectUri: ", "--redirect-uri")

	a := authorize(t, r.address, "drive")
	if !strings.HasPrefix(a.back, "http://127.0.0.1:") || !strings.HasSuffix(a.back, "/callback") {
		t.Errorf("the browser is sent to %s", a.back)
	}
	checkPage(t, browse(t, a.where.String()), 200, "Consent received")
	a.end("")
	if got := a.errs.String(); !strings.Contains(got, "waiting at "+a.back+" until ") || !strings.HasSuffix(got, "can be used\n") {
		t.Errorf("standard error has %q", got)
	}
	r.expect("credentials list", "drive") // which it does not while it is temporary

	// once more, at a port that is said, and on standard error nothing
	port := rrtest.FreePort(t)
	a = authorize(t, r.address, "drive", "--quiet", "--port", fmt.Sprint(port))
	if a.back != fmt.Sprintf("http://127.0.0.1:%d/callback", port) {
		t.Errorf("the browser is sent to %s", a.back)
	}
	r.fails(fmt.Sprintf("authorize drive --port %d", port), "the browser cannot come back to this machine", "another --port")
	checkPage(t, browse(t, a.where.String()), 200, "Consent received")
	if a.end(""); a.errs.Len() > 0 {
		t.Errorf("standard error has %q", a.errs.String())
	}

	// the person, or the provider, does not want
	a = authorize(t, r.address, "drive")
	refused := url.Values{"state": {a.where.Query().Get("state")}, "error": {"access_denied"}, "error_description": {"<script>CANARY</script>"}}
	checkPage(t, browse(t, a.back+"?"+refused.Encode()), 502, "Consent not received")
	a.end("The provider did not give a token. The gateway's log says why. (502)")
	a = authorize(t, r.address, "drive")
	s.Status(500)
	checkPage(t, browse(t, a.where.String()), 502, "Consent not received")
	a.end("The provider did not give a token")
	s.Fault(nil)

	// it takes too long for the gateway, which has forgotten it
	a = authorize(t, r.address, "drive")
	r.rr("credentials delete drive --yes")
	checkPage(t, browse(t, a.where.String()), 502, "Consent not received")
	a.end("Begin the consent anew. (400)")
}

// consentAPI answers authorize with the redirect URI in the address, and callbacks as it is
// said to.
type consentAPI struct {
	mu       sync.Mutex
	queries  []url.Values
	callback http.HandlerFunc
}

// newConsentAPI returns the API and its address.
func newConsentAPI(t *testing.T, callback http.HandlerFunc) (*consentAPI, string) {
	api := &consentAPI{callback: callback}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return api, server.Listener.Addr().String()
}

// told are the queries that came to the callback.
func (f *consentAPI) told() []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queries
}

// ServeHTTP implements http.Handler.
func (f *consentAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/rr/oauth2/callback" {
		f.mu.Lock()
		f.queries = append(f.queries, r.URL.Query())
		f.mu.Unlock()
		f.callback(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, `{"credentials":[{"credentialId":"c1","credentialName":"drive"}]}`)
		return
	}
	body, _ := io.ReadAll(r.Body)
	rec, err := decodeRecord(body)
	if err != nil {
		panic(err)
	}
	query := url.Values{"state": {"S7ATE"}, "redirect_uri": {rec.text("redirectUri")}}
	fmt.Fprintf(w, `{"authorizationUrl":"https://login.example.com/authorize?%s"}`, query.Encode())
}

func received(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<h1>Consent received</h1>")
}

// TestAuthorizeHearsOneBrowser: whatever else comes to the port changes nothing, and of many
// browsers with the state one counts.
func TestAuthorizeHearsOneBrowser(t *testing.T) {
	api, address := newConsentAPI(t, received)
	a := authorize(t, address, "drive")
	right := a.back + "?state=S7ATE&code=CANARY&code=other&x=a%20b"
	for _, tt := range []struct {
		name, method, where string
		headers             []string
	}{
		{"no query", "GET", a.back, nil},
		{"no state", "GET", a.back + "?code=CANARY", nil},
		{"an empty state", "GET", a.back + "?state=&code=CANARY", nil},
		{"another state", "GET", a.back + "?state=wrong&code=CANARY", nil},
		{"another path", "GET", strings.Replace(right, "/callback", "/callback/", 1), nil},
		{"the icon", "GET", strings.TrimSuffix(a.back, "/callback") + "/favicon.ico", nil},
		{"another host", "GET", right, []string{"Host: rebound.example"}},
		{"another name", "GET", right, []string{"Host: localhost"}},
		{"from within a page", "GET", right, []string{"Sec-Fetch-Mode: no-cors"}},
		{"by a script", "GET", right, []string{"Sec-Fetch-Mode: cors", "Origin: https://evil.example"}},
		{"a preflight", "OPTIONS", right, []string{"Origin: https://evil.example", "Access-Control-Request-Method: GET"}},
		{"a form", "POST", right, nil},
		{"HEAD", "HEAD", right, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := rrtest.Request(t, tt.method, tt.where, "", tt.headers...)
			if tt.headers != nil && strings.HasPrefix(tt.headers[0], "Host: ") {
				req.Host = strings.TrimPrefix(tt.headers[0], "Host: ")
			}
			checkPage(t, rrtest.Send(t, &http.Client{Timeout: 10 * time.Second}, req), 404, "")
		})
	}
	if len(api.told()) != 0 {
		t.Fatalf("the API was told %v", api.told())
	}
	var wg sync.WaitGroup
	var counted [8]bool
	for i := range counted {
		wg.Go(func() {
			res, err := http.Get(right)
			if err == nil { // else it was too late
				counted[i] = res.StatusCode == 200
				res.Body.Close()
			}
		})
	}
	wg.Wait()
	a.end("")
	n := 0
	for _, c := range counted {
		if c {
			n++
		}
	}
	if n != 1 || len(api.told()) != 1 || api.told()[0].Encode() != "code=CANARY&code=other&state=S7ATE&x=a+b" {
		t.Errorf("%d browsers get a page; the API was told %v", n, api.told())
	}
}

// TestAuthorizeSaysWhatTheAPISays: the browser comes back, and the API does not answer, or
// something else does. It is asked once.
func TestAuthorizeSaysWhatTheAPISays(t *testing.T) {
	for _, tt := range []struct {
		name     string
		callback http.HandlerFunc
		says     string
	}{
		{"lost", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "whether the consent counts is not known"},
		{"a proxy", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<h1>Bad gateway</h1>")
		}, "GET /oauth2/callback: 502 Bad Gateway"},
		{"a problem", func(w http.ResponseWriter, _ *http.Request) {
			fakeProblem(w, http.StatusServiceUnavailable, "the store cannot be reached")
		}, "the store cannot be reached (503)"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "is answered with a redirect"},
		{"not the API", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, "has no management API"},
		{"its page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "<h1>Consent not received</h1>\n<p>It&#39;s over.\x1b</p>\n")
		}, "It's over.\uFFFD (400)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api, address := newConsentAPI(t, tt.callback)
			a := authorize(t, address, "drive")
			checkPage(t, browse(t, a.back+"?state=S7ATE&code=CANARY"), 502, "The terminal says why")
			a.end(tt.says)
			if len(api.told()) != 1 {
				t.Errorf("the API is asked %d times", len(api.told()))
			}
		})
	}
}

// TestAuthorizeFinishesWhatHasBegun: the time ends, or the browser leaves, while the API is
// asked.
func TestAuthorizeFinishesWhatHasBegun(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	_, address := newConsentAPI(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		received(w, r)
	})
	a := authorize(t, address, "drive", "--wait", "1s")
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.back+"?state=S7ATE&code=CANARY", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	<-asked
	leave()
	time.Sleep(1100 * time.Millisecond)
	close(answer)
	a.end("")
}
