package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// oidcAlgorithms are those that the certified provider signs with.
var oidcAlgorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}

// byProvider is a proxy whose callers have tokens of the certified provider.
const byProvider = `{
	rr {
		throttle off
		proxy p {
			accept jwt_verify {
				issuer ISSUER
				audience https://api.example/RS256 https://api.example/PS256 https://api.example/ES256 https://api.example/EdDSA
				algorithms ALGORITHMS
				typ at+jwt
				scope read
				MORE
			}
			target http://UPSTREAM
			present none
			allow *
		}
	}
}
http://:GATEPORT {
	rr_proxy p
}
`

// quick makes the gateway look for new keys as often as it can.
const quick = "unknown_kid_interval 1s\n\t\t\t\trefresh_min 1s\n\t\t\t\trefresh_max 2s"

// startProvider starts the certified provider.
func startProvider(t *testing.T, env ...string) *idp.External {
	t.Helper()
	return idp.StartExternal(t, "testdata/oidc", env...)
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// waitKeys waits until the gateway accepts a token: it fetches keys after it has started,
// and waits longer after each failure, so this is more patient than rrtest.Eventually.
func waitKeys(t *testing.T, g *gateway, token string) {
	t.Helper()
	var a answer
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if a = g.get("/", bearer(token)); a.Status == 200 {
			return
		}
	}
	t.Fatalf("the gateway has no keys of the provider; it answers %d %q", a.Status, a.code())
}

func TestProviderTokens(t *testing.T) {
	e, u := startProvider(t), rrtest.NewUpstream(t)
	vars := []string{"ISSUER", e.Issuer, "UPSTREAM", u.Addr, "MORE", ""}
	g := start(t, strings.Replace(byProvider, "ALGORITHMS", strings.Join(oidcAlgorithms, " "), 1), vars...)
	waitKeys(t, g, e.Token(idp.ExternalResource+"RS256", "read", nil))
	u.Reset()

	for _, alg := range oidcAlgorithms {
		token := e.Token(idp.ExternalResource+alg, "write read", nil)
		for range 2 { // the second is remembered
			g.get("/"+alg, bearer(token)).want(t, 200, "proxy-access-granted")
			if got := one(t, u); got.Contains(token) {
				t.Errorf("%s: the caller's token goes upstream: %+v", alg, got)
			}
		}
		// one character in the middle of the signature
		at := len(token) - 20
		other := byte('A')
		if token[at] == other {
			other = 'B'
		}
		g.get("/", bearer(token[:at]+string(other)+token[at+1:])).want(t, 401, "proxy-access-denied")
	}
	g.get("/", bearer(e.Token("https://other.example", "read", nil))).want(t, 401, "proxy-access-denied")
	narrow := g.get("/", bearer(e.Token(idp.ExternalResource+"ES256", "write", nil)))
	narrow.want(t, 403, "proxy-access-denied")
	if c := narrow.Header.Get("WWW-Authenticate"); !strings.Contains(c, `error="insufficient_scope"`) || !strings.Contains(c, `scope="read"`) {
		t.Errorf("challenge %q", c)
	}
	g.get("/", bearer(e.Token("", "read", nil))).want(t, 401, "proxy-access-denied") // opaque
	if n := len(received(u)); n != 0 {
		t.Errorf("%d refused requests reached the upstream", n)
	}

	// the configuration's algorithms, not the token's
	if err := g.reload(strings.Replace(byProvider, "ALGORITHMS", "ES256", 1)); err != nil {
		t.Fatal(err)
	}
	for _, alg := range oidcAlgorithms {
		status, code := 401, "proxy-access-denied"
		if alg == "ES256" {
			status, code = 200, "proxy-access-granted"
		}
		g.get("/", bearer(e.Token(idp.ExternalResource+alg, "read", nil))).want(t, status, code)
	}
}

// TestProviderRotatesKeysUnderLoad has callers who get a new token for every second
// request, while the provider changes its keys.
func TestProviderRotatesKeysUnderLoad(t *testing.T) {
	e, u := startProvider(t), rrtest.NewUpstream(t)
	g := start(t, byProvider, "ISSUER", e.Issuer, "UPSTREAM", u.Addr, "ALGORITHMS", strings.Join(oidcAlgorithms, " "), "MORE", quick)
	old := map[string]string{}
	for _, alg := range oidcAlgorithms {
		old[alg] = e.Token(idp.ExternalResource+alg, "read", nil)
	}
	waitKeys(t, g, old["RS256"])
	fetches := e.Requests("/jwks")

	var calls [4]atomic.Int64
	ended := make(chan struct{})
	var callers sync.WaitGroup
	for i, alg := range oidcAlgorithms {
		client := rrtest.HTTP1(t, nil)
		callers.Go(func() {
			for !closed(ended) {
				token, err := e.TryToken(idp.ExternalResource+alg, "read", nil)
				if err != nil {
					t.Error(err)
					return
				}
				for range 2 {
					if status := callWith(t, client, g.addr, token); status != 200 {
						t.Errorf("%s: a token that was made a moment ago gets %d", alg, status)
					}
				}
				calls[i].Add(1)
			}
		})
	}
	everyCaller := func() { // has got a token that was made after this
		t.Helper()
		var before [4]int64
		for i := range calls {
			before[i] = calls[i].Load()
		}
		rrtest.Eventually(t, "every caller has called", func() bool {
			for i := range calls {
				if calls[i].Load() < before[i]+2 {
					return false
				}
			}
			return true
		})
	}

	everyCaller()
	e.Rotate()
	everyCaller()
	for alg, token := range old {
		if a := g.get("/", bearer(token)); a.Status != 200 {
			t.Errorf("%s: %d while the old key is still in the set", alg, a.Status)
		}
	}
	e.Retire()
	for alg, token := range old {
		rrtest.Eventually(t, alg+" of a key that is gone is refused", func() bool { return g.get("/", bearer(token)).Status == 401 })
	}
	everyCaller()
	for alg, token := range old {
		if a := g.get("/", bearer(token)); a.Status != 401 {
			t.Errorf("%s: %d after the key was refused", alg, a.Status)
		}
	}
	close(ended)
	callers.Wait()
	total := calls[0].Load() + calls[1].Load() + calls[2].Load() + calls[3].Load()
	if n := e.Requests("/jwks") - fetches; n < 2 || int64(n) > total/4 && n > 20 {
		t.Errorf("%d fetches of the key set for %d tokens", n, total)
	}
	t.Logf("%d tokens, %d fetches of the key set", total, e.Requests("/jwks")-fetches)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// callWith sends one request and returns its status, from any goroutine.
func callWith(t *testing.T, client *http.Client, addr, token string) int {
	req, err := http.NewRequest("GET", "http://"+addr+"/", nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// TestProviderIsDown stops the provider, and restarts the gateway, a process of its own,
// in that time.
func TestProviderIsDown(t *testing.T) {
	e, u := startProvider(t), rrtest.NewUpstream(t)
	port := rrtest.FreePort(t)
	config := strings.NewReplacer("ISSUER", e.Issuer, "UPSTREAM", u.Addr, "GATEPORT", fmt.Sprint(port),
		"ALGORITHMS", "ES256", "MORE", "unknown_kid_interval 1s\n\t\t\t\trefresh_min 1s", "{\n\trr {", "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\trr {").Replace(byProvider)
	g := &gateway{t: t, addr: rrtest.Addr(port)}
	resource := idp.ExternalResource + "ES256"
	tokens := []string{e.Token(resource, "read", nil), e.Token(resource, "read", nil), e.Token(resource, "read", nil)}

	p := newProcess(t, config)
	stop := p.serve(g.addr)
	waitKeys(t, g, tokens[0])
	e.Rotate()
	unseen := e.Token(resource, "read", nil) // its key is not known to the gateway
	e.Stop()

	g.get("/", bearer(tokens[0])).want(t, 200, "proxy-access-granted")
	g.get("/", bearer(tokens[1])).want(t, 200, "proxy-access-granted") // known key, first sight
	undecided(t, g, unseen)
	g.get("/", bearer(tokens[0])).want(t, 200, "proxy-access-granted")

	stop()
	stop = p.serve(g.addr) // with the keys of its storage
	for _, token := range tokens {
		g.get("/", bearer(token)).want(t, 200, "proxy-access-granted")
	}
	undecided(t, g, unseen)
	stop()

	// another gateway, which never had the keys: it starts, and says that it cannot tell
	p = newProcess(t, config)
	p.serve(g.addr)
	undecided(t, g, tokens[0])
	g.get("/").want(t, 401, "proxy-access-denied")

	e.Start()
	waitKeys(t, g, tokens[0])
	waitKeys(t, g, unseen)
	if n := len(received(u)); n < 7 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

// undecided checks the answer to a token whose key cannot be had.
func undecided(t *testing.T, g *gateway, token string) {
	t.Helper()
	a := g.get("/", bearer(token))
	a.want(t, 503, "verification-unavailable")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// serve runs the server until the returned function is called, which is once at most.
func (p *process) serve(addr string) (stop func()) {
	p.t.Helper()
	cmd := exec.Command(p.path, "run")
	logFile, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Dir, cmd.Env, cmd.Stderr = p.dir, p.env, logFile
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			p.t.Error("the server does not end")
			_ = cmd.Process.Kill()
		}
		logFile.Close()
	})
	p.t.Cleanup(func() {
		stop()
		if text, err := os.ReadFile(logFile.Name()); p.t.Failed() && err == nil {
			p.t.Logf("the server's log:\n%s", text)
		}
	})
	rrtest.Eventually(p.t, "the server answers", func() bool {
		res, err := http.Get("http://" + addr + "/")
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	return stop
}
