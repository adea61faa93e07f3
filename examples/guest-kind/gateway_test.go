package guestkind

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what the caddy command has

	_ "github.com/caddy-rr/caddy-rr" // the gateway
)

// gateway is Caddy with rr and the kinds of this package, in this process.
type gateway struct {
	t    *testing.T
	addr string
	log  string // its log file
	vars []string
}

// freeAddr is a free loopback address, below the ports that the kernel gives to connections
// and servers that do not name one.
func freeAddr(t *testing.T) string {
	t.Helper()
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+mathrand.IntN(10000))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal(err)
	return ""
}

// start runs a Caddyfile's global option rr and its site. UPSTREAM stands for the
// upstream's host and port; vars (name, value, …) stand for more.
func start(t *testing.T, rr, site string, upstream *upstream, vars ...string) *gateway {
	t.Helper()
	addr := freeAddr(t)
	dir := t.TempDir()
	g := &gateway{t: t, addr: addr, log: filepath.Join(dir, "log")}
	g.vars = append(vars, "DIR", dir, "ADDR", addr, "UPSTREAM", upstream.Listener.Addr().String())
	config, err := g.adapt(rr, site)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := caddy.Load(config, true); err != nil {
		t.Fatalf("the configuration does not load: %v", err)
	}
	return g
}

// adapt turns a Caddyfile into JSON, as `caddy adapt` does.
func (g *gateway) adapt(rr, site string) ([]byte, error) {
	text := strings.NewReplacer(g.vars...).Replace(`{
	admin off
	persist_config off
	auto_https off
	grace_period 1s
	default_bind 127.0.0.1
	storage file_system DIR
	log {
		output file DIR/log
		format rr
		level DEBUG
	}
	` + rr + `
}
http://ADDR {
	log
	` + site + `
}`)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// do sends a request with headers and returns the answer, its body read.
func (g *gateway) do(method, path string, header http.Header) *http.Response {
	g.t.Helper()
	req, err := http.NewRequest(method, "http://"+g.addr+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header = header
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		g.t.Fatal(err)
	}
	return res
}

// want sends a request and checks status and code of the answer.
func (g *gateway) want(status int, code, method, path string, header http.Header) *http.Response {
	g.t.Helper()
	res := g.do(method, path, header)
	if got := res.Header.Get("RR-Proxy-Code"); res.StatusCode != status || got != code {
		g.t.Errorf("%s %s: got %d %q, want %d %q", method, path, res.StatusCode, got, status, code)
	}
	return res
}

// logs waits until the log has the text, and returns the log.
func (g *gateway) logs(text string) string {
	g.t.Helper()
	var log []byte
	within(g.t, fmt.Sprintf("the log has %q", text), func() bool {
		log, _ = os.ReadFile(g.log)
		return strings.Contains(string(log), text)
	})
	return string(log)
}

// within waits for something that happens soon.
func within(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// upstream answers 401 unless the request is signed as date_hmac does.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen []http.Header
}

func newUpstream(t *testing.T, name, key string) *upstream {
	u := new(upstream)
	raw := decode(t, key)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.seen = append(u.seen, r.Header.Clone())
		u.mu.Unlock()
		date := r.Header.Get("Date")
		want := []string{"HMAC " + name + ":" + sign(raw, r.Method+"\n"+r.URL.EscapedPath()+"\n"+date)}
		at, err := http.ParseTime(date)
		if !slices.Equal(r.Header["Authorization"], want) || err != nil || time.Since(at).Abs() > time.Minute {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(u.Close)
	return u
}

// received returns the headers of what came since the last call.
func (u *upstream) received() []http.Header {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}

func newKey(t *testing.T) string {
	t.Helper()
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func decode(t *testing.T, key string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// signed is what a caller of signed_time sends.
func signed(t *testing.T, who string, at time.Time, key string) string {
	t.Helper()
	text := who + ":" + strconv.FormatInt(at.Unix(), 10)
	return text + ":" + sign(decode(t, key), text)
}

const granted, denied = "proxy-access-granted", "proxy-access-denied"

// TestBothKinds goes through every way in which a kind can be configured.
func TestBothKinds(t *testing.T) {
	for _, tt := range []struct{ name, rr, site string }{
		{"in a proxy", `rr {
			proxy p {
				accept signed_time {env.GUEST_CALLER_KEY} {
					header x-robot-signature
					window 1m
				}
				target http://UPSTREAM
				present date_hmac app-1 {env.GUEST_VENDOR_KEY}
				deny DELETE
			}
		}`, `rr_proxy p`},
		{"as named credentials", `rr {
			credential robots accept signed_time {env.GUEST_CALLER_KEY} {
				header X-Robot-Signature
				deny DELETE
			}
			credential vendor present date_hmac app-1 {env.GUEST_VENDOR_KEY} {
				hosts http://UPSTREAM
			}
			proxy p {
				accept credential robots
				target http://UPSTREAM
				present credential vendor
			}
		}`, `rr_proxy p`},
		{"in handlers", ``, `rr_verify {
				accept signed_time {env.GUEST_CALLER_KEY} {
					header X-Robot-Signature
				}
				deny DELETE
			}
			rr_inject {
				present date_hmac app-1 {env.GUEST_VENDOR_KEY}
			}
			reverse_proxy UPSTREAM`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			callerKey, vendorKey := newKey(t), newKey(t)
			t.Setenv("GUEST_CALLER_KEY", callerKey)
			t.Setenv("GUEST_VENDOR_KEY", vendorKey)
			up := newUpstream(t, "app-1", vendorKey)
			g := start(t, tt.rr, tt.site, up)
			now := time.Now()
			right := signed(t, "robot-7", now, callerKey)

			// recognised; what the caller says of itself and at the injector's slots goes
			g.want(http.StatusOK, granted, "GET", "/v1/things%20?x=1", http.Header{
				"X-Robot-Signature": {right}, "X_Robot_Signature": {right},
				"Authorization": {"HMAC app-1:0000"}, "Date": {"Thu, 01 Jan 1970 00:00:00 GMT"},
				"Connection": {"Date, Authorization"}, "X-Other": {"stays"},
			})
			got := up.received()
			if len(got) != 1 || got[0].Get("X-Other") != "stays" {
				t.Fatalf("the upstream got %v", got)
			}
			if text := fmt.Sprint(got[0]); strings.Contains(text, right) {
				t.Errorf("the caller's credential went upstream: %s", text)
			}

			// refused, each for its own reason
			for reason, credential := range map[string][]string{
				"no credential of this kind":             nil,
				"wrong signature":                        {signed(t, "robot-7", now, newKey(t))},
				"and the window is ":                     {signed(t, "robot-7", now.Add(-time.Hour), callerKey)},
				"it is not <name>:<seconds>:<signature>": {"robot-7"},
				"a credential carrier is there twice":    {right, right},
			} {
				res := g.want(http.StatusUnauthorized, denied, "GET", "/", http.Header{"X-Robot-Signature": credential})
				challenge := `Signed-Time realm="rr"`
				if credential != nil {
					challenge += `, error="invalid_signature"`
				}
				if got := res.Header["Www-Authenticate"]; !slices.Equal(got, []string{challenge}) {
					t.Errorf("%s: challenges %q, want %q", reason, got, challenge)
				}
				g.logs(reason)
			}
			g.want(http.StatusForbidden, denied, "DELETE", "/", http.Header{"X-Robot-Signature": {right}})
			if got := up.received(); len(got) != 0 {
				t.Errorf("refused requests went upstream: %v", got)
			}

			log := g.logs(`"status":403`)
			for what, canary := range map[string]string{"caller's key": callerKey, "vendor's key": vendorKey, "credential": right} {
				if strings.Contains(log, canary) {
					t.Errorf("the %s is in the log", what)
				}
			}
		})
	}
}

func TestIDAndClaims(t *testing.T) {
	callerKey, vendorKey := newKey(t), newKey(t)
	t.Setenv("GUEST_CALLER_KEY", callerKey)
	t.Setenv("GUEST_VENDOR_KEY", vendorKey)
	g := start(t, `rr {
		proxy p {
			accept signed_time {env.GUEST_CALLER_KEY}
			target http://UPSTREAM
			present date_hmac app-1 {env.GUEST_VENDOR_KEY}
			allow * {
				claim signed_at ^1[0-9]+$
				expression `+"`{http.auth.user.id} == \"robot-7\"`"+`
			}
		}
	}`, `header >X-Caller "{http.auth.user.id} {http.auth.user.signed_at} {rr.credential}"
	rr_proxy p`, newUpstream(t, "app-1", vendorKey))
	now := time.Now()
	res := g.want(http.StatusOK, granted, "GET", "/", http.Header{"X-Signature": {signed(t, "robot-7", now, callerKey)}})
	if got, want := res.Header.Get("X-Caller"), fmt.Sprintf("robot-7 %d signed_time", now.Unix()); got != want {
		t.Errorf("placeholders are %q, want %q", got, want)
	}
	g.want(http.StatusForbidden, denied, "GET", "/", http.Header{"X-Signature": {signed(t, "robot-8", now, callerKey)}})
}

// TestBesideOtherKinds has the gate's own look-up of keys and a guest side by side.
func TestBesideOtherKinds(t *testing.T) {
	callerKey, vendorKey := newKey(t), newKey(t)
	t.Setenv("GUEST_CALLER_KEY", callerKey)
	t.Setenv("GUEST_VENDOR_KEY", vendorKey)
	right := signed(t, "robot-7", time.Now(), callerKey)
	// one key that is a text of the guest's form, but no signature
	apiKey := "robot-7:1700000000:0123456789abcdef0123456789abcdef"
	t.Setenv("GUEST_API_KEY", apiKey)
	for _, order := range []string{"signed_time first", "signed_time last"} {
		t.Run(order, func(t *testing.T) {
			accept := []string{"accept key {env.GUEST_API_KEY}", "accept signed_time {env.GUEST_CALLER_KEY}"}
			if order == "signed_time first" {
				slices.Reverse(accept)
			}
			up := newUpstream(t, "app-1", vendorKey)
			g := start(t, `rr {
				proxy p {
					`+strings.Join(accept, "\n")+`
					accept none
					target http://UPSTREAM
					present date_hmac app-1 {env.GUEST_VENDOR_KEY}
				}
			}`, `header >X-Caller "{http.auth.user.id} {rr.credential}"
			rr_proxy p`, up)
			for _, tt := range []struct {
				name, who string // empty: 401
				header    http.Header
			}{
				{"the key", "key key", http.Header{"X-Api-Key": {apiKey}}},
				{"the signature", "robot-7 signed_time", http.Header{"X-Signature": {right}}},
				{"nothing", "anonymous none", nil},
				{"the key where the signature belongs", "", http.Header{"X-Signature": {apiKey}}},
				{"the signature where the key belongs", "", http.Header{"X-Api-Key": {right}}},
				{"both", "", http.Header{"X-Api-Key": {apiKey}, "X-Signature": {right}}},
				{"the key and a wrong signature", "", http.Header{"X-Api-Key": {apiKey}, "X-Signature": {right + "0"}}},
			} {
				status, code := http.StatusOK, granted
				if tt.who == "" {
					status, code = http.StatusUnauthorized, denied
				}
				res := g.want(status, code, "GET", "/", tt.header)
				if got := res.Header.Get("X-Caller"); tt.who != "" && got != tt.who {
					t.Errorf("%s: the caller is %q, want %q", tt.name, got, tt.who)
				}
			}
			for _, h := range up.received() {
				if h.Get("X-Api-Key")+h.Get("X-Signature") != "" {
					t.Errorf("a caller's credential went upstream: %v", h)
				}
			}
		})
	}
}

// TestSecretFiles has both keys replaced while the gateway runs, by something that is no key
// first: then nobody can tell who is calling, and nothing can be signed.
func TestSecretFiles(t *testing.T) {
	callerKey, vendorKey, apiKey := newKey(t), newKey(t), newKey(t)
	t.Setenv("GUEST_API_KEY", apiKey)
	dir := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		// as everybody should: readers see the old file or the new one
		if err := os.WriteFile(filepath.Join(dir, "new"), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	write("caller", newKey(t))
	write("vendor", newKey(t))
	up := newUpstream(t, "app-1", vendorKey)
	g := start(t, `rr {
		proxy p {
			accept signed_time {file.SECRETS/caller}
			accept key {env.GUEST_API_KEY}
			target http://UPSTREAM
			present date_hmac app-1 {file.SECRETS/vendor}
		}
	}`, `rr_proxy p`, up, "SECRETS", dir)
	bySignature := http.Header{"X-Signature": {signed(t, "robot-7", time.Now(), callerKey)}}
	byKey := http.Header{"X-Api-Key": {apiKey}}
	g.want(http.StatusUnauthorized, denied, "GET", "/", bySignature)
	g.want(http.StatusUnauthorized, granted, "GET", "/", byKey) // the upstream's own
	up.received()

	write("caller", "no*key*caller")
	write("vendor", "no*key*vendor")
	within(t, "neither key can be used", func() bool {
		return g.do("GET", "/", bySignature).StatusCode == http.StatusServiceUnavailable &&
			g.do("GET", "/", byKey).StatusCode == http.StatusBadGateway
	})
	up.received()
	res := g.want(http.StatusServiceUnavailable, "verification-unavailable", "GET", "/", bySignature)
	if got := res.Header.Get("Retry-After"); got != "10" {
		t.Errorf("Retry-After is %q, want 10", got)
	}
	g.want(http.StatusBadGateway, "target-credential-failed", "GET", "/", byKey)
	if got := up.received(); len(got) != 0 {
		t.Errorf("requests went upstream without the upstream's credential: %v", got)
	}
	g.logs(`date_hmac: the key is not base64`)
	if log := g.logs(`"reason":"the key is not base64"`); strings.Contains(log, "no*key*") {
		t.Error("the secret is in the log")
	}

	write("caller", callerKey)
	write("vendor", vendorKey)
	within(t, "both keys are used", func() bool { return g.do("GET", "/", bySignature).StatusCode == http.StatusOK })
}

func TestAdaptErrors(t *testing.T) {
	for _, tt := range []struct{ accept, present, want string }{
		{"signed_tim {env.K}", "none", `, at Caddyfile:15`},
		{"signed_tim {env.K}", "none", `unknown verifier kind "signed_tim"; the kinds are: basic, bearer, introspect, jwt, jwt_verify, key, mtls, none, signed_time`},
		{"none", "date_hmak a {env.K}", `unknown injector kind "date_hmak"; the kinds are: basic, bearer, custom, custom_token, date_hmac, http_signature, jwt, key, none, oauth2, sigv4`},
		{"signed_time", "none", `signed_time needs exactly one key, a placeholder such as {env.KEY}; there are 0 arguments`},
		{"signed_time {env.K} {\nwindow soon\n}", "none", `window: "soon" is not a duration such as 5m`},
		{"signed_time {env.K} {\nheader Cookie\n}", "none", `header Cookie cannot carry a credential`},
		{"signed_time {env.K} {\nfrom query k\n}", "none", `unrecognized option "from" of signed_time; there are: header, window`},
		{"none", "date_hmac {env.K}", `date_hmac needs a name and a key, a placeholder such as {env.KEY}; there are 1 arguments`},
		{"none", "date_hmac a {env.K} {\nx\n}", `unrecognized option "x" of date_hmac; it has none`},
	} {
		_, err := new(gateway).adapt(`rr {
			proxy p {
				accept `+tt.accept+`
				target http://127.0.0.1:9
				present `+tt.present+`
			}
		}`, `rr_proxy p`)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("accept %s, present %s: got %v, want %q", tt.accept, tt.present, err, tt.want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	t.Setenv("GUEST_KEY", newKey(t))
	t.Setenv("GUEST_SHORT", "c2hvcnQ=")
	t.Setenv("GUEST_CANARY", "canary*no*base64")
	good := `{"kind": "signed_time", "key": "{env.GUEST_KEY}"}`
	for _, tt := range []struct{ accept, present, want string }{
		{`{"kind": "signed_time", "key": "{env.GUEST_UNSET}"}`, `{"kind": "none"}`,
			`proxy p: accept signed_time: `},
		{`{"kind": "signed_time", "key": "{env.GUEST_UNSET}"}`, `{"kind": "none"}`,
			`key: {env.GUEST_UNSET}: the environment variable is not set or empty`},
		{`{"kind": "signed_time"}`, `{"kind": "none"}`, `key: the secret is empty`},
		{`{"kind": "signed_time", "key": "{env.GUEST_CANARY}"}`, `{"kind": "none"}`, `the key is not base64`},
		{`{"kind": "signed_time", "key": "{env.GUEST_KEY}", "header": "Te"}`, `{"kind": "none"}`, `header Te cannot carry a credential`},
		{`{"kind": "signed_time", "key": "{env.GUEST_KEY}", "colour": 1}`, `{"kind": "none"}`, `unknown field "colour"`},
		{`{"kind": "signed_thyme"}`, `{"kind": "none"}`, `the kinds are: basic, bearer, introspect, jwt, jwt_verify, key, mtls, none, signed_time`},
		{good, `{"kind": "date_hmac", "name": "a", "key": "{env.GUEST_SHORT}"}`, `proxy p: present date_hmac: `},
		{good, `{"kind": "date_hmac", "name": "a", "key": "{env.GUEST_SHORT}"}`, `the key has 5 bytes and needs 32`},
		{good, `{"kind": "date_hmac", "name": "a b", "key": "{env.GUEST_KEY}"}`, `name: "a b" is not`},
		{good, `{"kind": "date_hmak"}`, `the kinds are: basic, bearer, custom, custom_token, date_hmac, http_signature, jwt, key, none, oauth2, sigv4`},
	} {
		config := `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {"rr": {"proxies": {"p": {
			"accept": [` + tt.accept + `], "target": "http://127.0.0.1:9", "present": ` + tt.present + `}}}}}`
		err := caddy.Validate(parsed(t, config))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("accept %s, present %s: got %v, want %q", tt.accept, tt.present, err, tt.want)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("the secret is in the error: %v", err)
		}
	}
}

func parsed(t *testing.T, config string) *caddy.Config {
	t.Helper()
	cfg := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON([]byte(config), cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}
