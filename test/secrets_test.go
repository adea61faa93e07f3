package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// loud logs everything that Caddy can log, through the encoder rr.
const loud = `{
	log {
		format rr
		level DEBUG
	}
	servers {
		log_credentials
		trace
	}
	rr {
		proxy p {
			accept key {env.RR_CALLER} {
				from header X-Gateway-Key
				from query gateway_key
				from cookie gk
			}
			accept key {env.RR_OTHER}
			target http://UPSTREAM
			present custom {
				header X-Vendor {env.RR_VENDOR}
				query vendor_key {env.RR_VENDOR}
				cookie vendor {env.RR_VENDOR}
			}
		}
		proxy dead {
			accept key {env.RR_CALLER} {
				from header X-Gateway-Key
				from query gateway_key
			}
			target http://127.0.0.1:DEADPORT
			present key {env.RR_VENDOR} {
				header X-Vendor
			}
		}
		ERRORS
	}
}
http://:GATEPORT {
	log {
		format rr
	}
	handle /dead* {
		rr_proxy dead
	}
	handle /early* {
		rr_verify {
			accept key {env.RR_CALLER} {
				from header X-Gateway-Key
				from query gateway_key
			}
		}
		rr_inject {
			present key {env.RR_VENDOR} {
				header X-Vendor
			}
		}
		reverse_proxy UPSTREAM {
			header_up X-Seen yes
		}
	}
	handle /teapot* {
		rr_proxy p {
			@teapot status 418
			handle_response @teapot {
				reverse_proxy ECHO
			}
		}
	}
	handle {
		rr_proxy p
	}
	handle_errors {
		reverse_proxy ECHO
	}
}
`

// Secrets were in debug lines that nobody thought of: of loggers, signers and exporters.
// Sources: apache/apisix#13205, apache/apisix#13502
// Here: Canaries go through every way in and out, at level DEBUG with tracing on; no log, error page, admin page, profile or metric has one.
// Topic: logs
func TestPeer_apisix_13205_NoSecretIsShownAnywhere(t *testing.T) {
	setSecrets(t)
	canaries := []string{callerKey, otherKey, vendorKey}
	for _, pass := range []string{"", "errors pass"} {
		t.Run("with "+pass, func(t *testing.T) {
			u, echo := rrtest.NewUpstream(t), rrtest.NewUpstream(t)
			u.Handle("/teapot", rrtest.Status(418, "teapot"))
			u.Handle("/break", rrtest.BreakOff("half"))
			g := start(t, loud, "UPSTREAM", u.Addr, "ECHO", echo.Addr, "DEADPORT", fmt.Sprint(rrtest.FreePort(t)), "ERRORS", pass)
			var shown strings.Builder
			for _, path := range []string{"/v1/x", "/dead", "/early/x", "/teapot", "/break", "/v1//bad", "/v1/../x"} {
				ways := [][2]string{
					{"", "X-Gateway-Key: " + callerKey}, {"?gateway_key=" + callerKey + "&a=1", "X: 1"},
					{"", "X-Gateway-Key: " + callerKey + "wrong"}, {"?gateway_key=" + callerKey + "&b", "X-Gateway-Key: " + otherKey},
				}
				if !strings.HasPrefix(path, "/dead") && !strings.HasPrefix(path, "/early") {
					ways = append(ways, [][2]string{{"", "Cookie: gk=" + callerKey}, {"", "X-API-Key: " + otherKey}, {"?gateway_key=" + callerKey, "X-API-Key: " + otherKey}}...)
				}
				for _, with := range ways {
					a, _ := raw(t, g.addr, "GET "+path+with[0]+" HTTP/1.1\r\nHost: x\r\n"+with[1]+"\r\nConnection: close\r\n\r\n")
					if !strings.HasPrefix(path, "/v1/x") && path != "/early/x" { // whose answers echo what the vendor got
						shown.WriteString(a)
					}
				}
			}
			for _, path := range []string{"/config/", "/metrics", "/debug/vars", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline", "/reverse_proxy/upstreams"} {
				shown.WriteString(g.Admin("GET", path, "").Body)
			}
			time.Sleep(100 * time.Millisecond) // the last access-log lines
			shown.WriteString(g.Logs())
			for _, c := range canaries {
				for _, form := range []string{c, strings.ReplaceAll(c, "_", "%5F")} {
					if i := strings.Index(shown.String(), form); i >= 0 {
						t.Errorf("%s is shown in …%s…", c, shown.String()[max(0, i-300):min(shown.Len(), i+100)])
					}
				}
			}
			for _, r := range echo.Received() {
				for _, c := range canaries {
					if r.Contains(c) {
						t.Errorf("an error route's or response handler's upstream got %s: %+v", c, r)
					}
				}
			}
			if len(u.Received()) == 0 || len(echo.Received()) == 0 || !strings.Contains(g.Logs(), "handled request") {
				t.Error("the test did not reach what it is about")
			}
		})
	}
}

func TestALogThatWouldShowCredentialsIsWarnedOf(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	warned := func(t *testing.T, site string) bool {
		g := start(t, site, "UPSTREAM", u.Addr)
		return strings.Contains(g.Logs(), "logs would show callers' credentials")
	}
	t.Run("with Caddy's own encoder", func(t *testing.T) {
		if !warned(t, strings.Replace(oneProxy, "rr_proxy p", "log\n\trr_proxy p", 1)) {
			t.Error("no warning")
		}
	})
	t.Run("with rr's", func(t *testing.T) {
		if warned(t, strings.Replace(strings.Replace(oneProxy, "rr_proxy p", "log {\n\t\tformat rr\n\t}\n\trr_proxy p", 1), "{\n", "{\n\tlog {\n\t\tformat rr\n\t}\n", 1)) {
			t.Error("a warning without need")
		}
	})
}

func TestLiteralSecretsAreWarnedOf(t *testing.T) {
	u := rrtest.NewUpstream(t)
	setSecrets(t)
	g := start(t, strings.Replace(oneProxy, "present bearer {env.RR_VENDOR}", "present bearer literal-secret-0123456789", 1), "UPSTREAM", u.Addr)
	var where string
	for _, e := range g.LogEntries() {
		if strings.HasPrefix(fmt.Sprint(e["msg"]), "a secret is written in clear") {
			where += fmt.Sprint(e["where"], ";")
		}
	}
	if where != "credential vendor: present bearer;" {
		t.Errorf("warned of %q", where)
	}
}

// TestWhatDoesNotLoad are configurations that are refused with the place of the fault,
// also by `caddy validate`.
func TestWhatDoesNotLoad(t *testing.T) {
	setSecrets(t)
	t.Setenv("RR_EMPTY", "")
	t.Setenv("RR_NEWLINE", "a\nb")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := func(lines string) string {
		return "{\n\trr {\n\t\tproxy p {\n" + lines + "\n}\n}\n}\nhttp://:GATEPORT {\n\trr_proxy p\n}\n"
	}
	const accept, target, present = "accept key {env.RR_CALLER}\n", "target https://api.example.com\n", "present bearer {env.RR_VENDOR}\n"
	inline := func(verify, inject string) string {
		return "{\n\trr {\n\t\tcredential c present bearer {env.RR_VENDOR} {\n\t\t\thosts api.example.com\n\t\t}\n\t\tcredential a accept key {env.RR_CALLER}\n\t}\n}\nhttp://:GATEPORT {\n\trr_verify {\n" + verify + "\n}\n\trr_inject {\n" + inject + "\n}\n\treverse_proxy 127.0.0.1:1\n}\n"
	}
	for _, tt := range []struct{ name, config, err string }{
		{"an unset variable", proxy("accept key {env.RR_NOPE}\n" + target + present), "proxy p: accept key: provision rr.verifiers.key: secret 1: {env.RR_NOPE}: the environment variable is not set or empty"},
		{"an empty variable", proxy(accept + target + "present bearer {env.RR_EMPTY}"), "proxy p: present bearer: provision rr.injectors.bearer: token: {env.RR_EMPTY}: the environment variable is not set or empty"},
		{"an empty file", proxy(accept + target + "present key {file." + empty + "}"), "proxy p: present key: provision rr.injectors.key: secret: {file." + empty + "}: the file is empty"},
		{"a relative file", proxy(accept + target + "present key {file.key}"), "the path must be absolute"},
		{"another placeholder", proxy(accept + target + "present key {http.request.header.X}"), "unknown placeholder {http.request.header.X}"},
		{"a secret with a line break", proxy(accept + target + "present key {env.RR_NEWLINE}"), "characters that header X-Api-Key cannot carry"},
		{"a credential that is not declared", proxy("accept credential nope\n" + target + present), `proxy p: accept: there is no credential "nope"`},
		{"a present credential for a caller", strings.Replace(proxy("accept credential c\n"+target+present), "rr {", "rr {\n\t\tcredential c present none", 1), `credential "c" is presented to upstreams`},
		{"an accept credential for an upstream", strings.Replace(proxy(accept+target+"present credential c"), "rr {", "rr {\n\t\tcredential c accept none", 1), `credential "c" is accepted from callers`},
		{"a target that is not declared", proxy(accept + "target vendor\n" + present), `proxy p: there is no target "vendor"`},
		{"the same key for two callers", strings.Replace(proxy("accept credential a\naccept credential b\n"+target+present), "rr {", "rr {\n\t\tcredential a accept key {env.RR_CALLER}\n\t\tcredential b accept key {env.RR_CALLER}", 1), "a and b accept the same secret"},
		{"plain http to a public address", proxy(accept + "target http://93.184.216.34\n" + present), "plain http goes to loopback and private addresses only"},
		{"a target that is not among the hosts", strings.Replace(proxy(accept+target+"present credential c"), "rr {", "rr {\n\t\tcredential c present bearer {env.RR_VENDOR} {\n\t\t\thosts api.stripe.com\n\t\t}", 1), `credential c may not be sent to https://api.example.com:443; its hosts are ["api.stripe.com"]`},
		{"an also that shares its carrier", proxy(accept + "also key {env.RR_OTHER}\n" + target + present), "also needs a carrier of its own, but header Authorization is read by another verifier"},
		{"an expression that is not CEL", proxy(accept + target + present + "allow GET {\nexpression `1 +`\n}"), "proxy p: rules/0/expression"},
		{"hosts where they cannot be enforced", inline("accept credential a", "present credential c"), "has hosts, which cannot be enforced"},
		{"inline credentials without an app", "http://:GATEPORT {\n\trr_verify {\n\t\taccept credential a\n\t}\n\trespond ok\n}\n", `credential "a" is not known: there is no rr app`},
		{"a broken bcrypt hash", proxy("accept basic bob $2a$14$abc\n" + target + present), "not a complete bcrypt hash"},
		{"TLS options for plain http", strings.Replace(proxy(accept+"target t\n"+present), "rr {", "rr {\n\t\ttarget t http://127.0.0.1:1 {\n\t\t\ttransport http {\n\t\t\t\ttls\n\t\t\t}\n\t\t}", 1), "it has TLS options, but the target's URL is not https"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			logs, err := rrtest.StartError(t, strings.NewReplacer("GATEPORT", fmt.Sprint(rrtest.FreePort(t))).Replace(tt.config))
			if !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v\nwant %s", err, tt.err)
			}
			if strings.Contains(err.Error()+logs, vendorKey) || strings.Contains(err.Error()+logs, callerKey) {
				t.Error("the error or the log shows a secret")
			}
		})
	}
}

func TestASecretFileIsFollowed(t *testing.T) {
	setSecrets(t)
	dir := t.TempDir()
	caller, vendor := filepath.Join(dir, "caller"), filepath.Join(dir, "vendor")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(caller, callerKey+"\n")
	write(vendor, "first")
	u := rrtest.NewUpstream(t)
	g := start(t, strings.NewReplacer("{env.RR_CALLER}", "{file."+caller+"}", "{env.RR_VENDOR}", "{file."+vendor+"}").Replace(oneProxy), "UPSTREAM", u.Addr)
	g.get("/v1/x", withKey).want(t, 200, "proxy-access-granted")
	begin := time.Now()
	write(caller, otherKey+"x")
	write(vendor, "second")
	rrtest.Eventually(t, "the new key is accepted", func() bool {
		return g.get("/v1/x", "X-API-Key: "+otherKey+"x").Status == 200
	})
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("the change took %v", d)
	}
	g.get("/v1/x", withKey).want(t, 401, "proxy-access-denied")
	if got := u.Last(t).Header.Get("Authorization"); got != "Bearer second" {
		t.Errorf("the upstream got %s", got)
	}
	write(vendor, "")
	g.WaitLog("a secret file cannot be used; its last good value stays in use")
	g.get("/v1/x", "X-API-Key: "+otherKey+"x").want(t, 200, "proxy-access-granted")
	if got := u.Last(t).Header.Get("Authorization"); got != "Bearer second" {
		t.Errorf("with an empty file the upstream got %s", got)
	}
}

// hostBound has a credential that is for UPSTREAM, and routes to OTHER.
const hostBound = `{
	rr {
		credential bound present bearer {env.RR_VENDOR} {
			hosts http://UPSTREAM
		}
		proxy p {
			accept key {env.RR_CALLER}
			target http://UPSTREAM
			present credential bound
		}
	}
}
http://:GATEPORT {
	handle /fine {
		rr_proxy p
	}
	handle /other {
		rr_verify p
		rr_inject {
			present credential bound
			deferred
		}
		reverse_proxy OTHER {
			transport rr
		}
	}
	handle /elsewhere {
		rr_verify p
		rr_inject {
			present bearer {env.RR_VENDOR}
			deferred
		}
		reverse_proxy OTHER {
			transport rr
		}
	}
}
`

func TestHostBinding(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	other := rrtest.NewUpstream(t)
	g := start(t, hostBound, "UPSTREAM", u.Addr, "OTHER", other.Addr)
	g.get("/fine", withKey).want(t, 200, "proxy-access-granted")
	g.get("/other", withKey).want(t, 403, "host-not-allowed")
	if n := len(other.Received()); n != 0 {
		t.Fatalf("the other host got %d requests", n)
	}
	g.get("/elsewhere", withKey, "Host: spoofed.test").want(t, 200, "proxy-access-granted")
}

func TestUpstreamFailures(t *testing.T) {
	setSecrets(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	u := rrtest.NewUpstream(t)
	u.Handle("/break", rrtest.BreakOff("half"))
	u.Handle("/401", rrtest.Status(401, "the vendor's own"))
	const site = `{
	rr {
		target slow http://SLOW {
			transport http {
				response_header_timeout 300ms
			}
		}
		proxy dead {
			accept key {env.RR_CALLER}
			target http://127.0.0.1:DEADPORT
			present bearer {env.RR_VENDOR}
		}
		proxy slow {
			accept key {env.RR_CALLER}
			target slow
			present bearer {env.RR_VENDOR}
		}
		proxy off {
			accept key {env.RR_CALLER}
			target http://UPSTREAM
			present bearer {env.RR_VENDOR}
			inactive
		}
		proxy live {
			accept key {env.RR_CALLER}
			target http://UPSTREAM
			present bearer {env.RR_VENDOR}
		}
	}
}
http://:GATEPORT {
	rr_gateway /api/*
}
`
	g := start(t, site, "UPSTREAM", u.Addr, "SLOW", ln.Addr().String(), "DEADPORT", fmt.Sprint(rrtest.FreePort(t)))
	g.get("/api/dead/x", withKey).want(t, 502, "upstream-unreachable")
	a := g.get("/api/slow/x", withKey)
	a.want(t, 504, "upstream-unreachable")
	if strings.Contains(a.Body, "127.0.0.1") || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("the answer tells too much: %v %s", a.Header, a.Body)
	}
	g.get("/api/off/x", withKey).want(t, 503, "proxy-inactive")
	g.get("/api/off/x").want(t, 401, "proxy-access-denied")
	a = g.get("/api/live/401", withKey)
	a.want(t, 401, "proxy-access-granted")
	if a.Body != "the vendor's own" {
		t.Errorf("body %q", a.Body)
	}
	res, err := http.DefaultClient.Do(rrtest.Request(t, "GET", "http://"+g.addr+"/api/live/break", "", withKey))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("half an answer looks whole to the caller")
	}
}
