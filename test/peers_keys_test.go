package test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// Hashes of keys were asked for, so that whoever reads the configuration has no key; where a hash is compared with what the caller
// sends, it is one.
// Sources: agentgateway/agentgateway#2195, agentgateway/agentgateway#2240
// Here: `hash sha256:…` stands for a key in the configuration. The hash itself does not authenticate, in any spelling.
func TestPeer_agentgateway_2195_AHashIsNoKey(t *testing.T) {
	sum := sha256.Sum256([]byte(callerKey))
	hash := hex.EncodeToString(sum[:])
	g, u := startPeer(t, strings.Replace(proxies(peerProxy("p", vendor)), "accept key {env.RR_CALLER}", "accept key {\nhash sha256:"+hash+"\n}", 1))
	g.get("/p/x", withKey).want(t, 200, "proxy-access-granted")
	received(u)
	for _, text := range []string{hash, strings.ToUpper(hash), "sha256:" + hash, string(sum[:16]), "hash sha256:" + hash} {
		a := rrtest.Raw(t, g.addr, "GET /p/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: "+strings.Map(func(r rune) rune { return max(r, ' ') }, text)+"\r\n\r\n")
		if a.Status < 400 || a.Status > 401 {
			t.Errorf("%q: %d", text, a.Status)
		}
	}
	silent(t, u)
}

// The same key was given to two consumers; which of them a request came from was chance.
// Sources: apache/apisix#13529
// Here: Two callers with one secret are refused when the configuration loads, and 409 through the API, without saying who has it.
// Topic: rotation
func TestPeer_apisix_13529_OneKeyOneCaller(t *testing.T) {
	refusedToLoad(t, "{\n\trr {\n\t\tcredential a accept key {env.RR_CALLER}\n\t\tcredential b accept key {env.RR_CALLER}\n\t\tproxy p {\n\t\t\taccept credential a\n\t\t\taccept credential b\n\t\t\ttarget http://UPSTREAM\n\t\t\tpresent none\n\t\t}\n\t}\n}\nhttp://:GATEPORT {\n\trr_gateway\n}\n", "the same secret")
	m := startManaged(t)
	const body = `{"credentialType":"proxy","credentialAuthType":"key","credentialName":%q,"credentialSecret":{"key":"a-key-for-two-0123456789abcdef"}}`
	m.made("credentials", fmt.Sprintf(body, "first"))
	a := m.ask("POST", "credentials", fmt.Sprintf(body, "second"))
	if a.Status != http.StatusConflict || strings.Contains(a.Body, "a-key-for-two") {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

// Keys could not be told from other texts, so that scanners did not find those that had been published.
// Sources: pomerium/pomerium#6661
// Here: Generated keys begin with `rr_live_`, have 256 random bits and a checksum, and are shown once.
func TestPeer_pomerium_6661_KeysAreRecognised(t *testing.T) {
	m := startManaged(t)
	seen := map[string]bool{}
	for n := range 10 {
		id, key := m.caller(fmt.Sprint("c", n))
		if !strings.HasPrefix(key, "rr_live_") || len(key) < 8+43 || seen[key] {
			t.Errorf("the key is %s", key)
		}
		seen[key] = true
		if a := m.ask("GET", "credentials/"+id, ""); strings.Contains(a.Body, key) {
			t.Error("the key is shown again")
		}
	}
}

// Files with secrets are replaced by a link that is moved, as Kubernetes does, and the watcher still looked at the
// old file.
// Sources: agentgateway/agentgateway#1818, agentgateway/agentgateway#418, greenpau/caddy-security#253
// Here: What the path leads to is looked at again, through every link, within 5 s; a key that is gone is refused.
// Topic: rotation
func TestPeer_agentgateway_1818_SecretsBehindMovedLinks(t *testing.T) {
	dir := t.TempDir()
	put := func(version, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "key"), text)
		next := filepath.Join(dir, "..next")
		if err := os.Symlink(version, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	put("..v1", callerKey)
	path := filepath.Join(dir, "key")
	if err := os.Symlink("..data/key", path); err != nil {
		t.Fatal(err)
	}
	g, _ := startPeer(t, strings.Replace(proxies(peerProxy("p", vendor)), "{env.RR_CALLER}", "{file."+path+"}", 1))
	g.get("/p/x", withKey).want(t, 200, "proxy-access-granted")
	put("..v2", otherKey)
	rrtest.Eventually(t, "the new key counts", func() bool { return g.get("/p/x", "X-API-Key: "+otherKey).Status == 200 })
	g.get("/p/x", withKey).want(t, 401, "proxy-access-denied")
}

// Honest clients got 429, since the limit of failed logins counted the good ones.
// Sources: Infisical/agent-vault#97, Infisical/agent-vault#171, Infisical/agent-vault#226
// Here: Successes are never counted. An address with too many failures still gets in with a key, which costs nothing to
// check.
// Topic: throttle
func TestPeer_agent_vault_226_SuccessesAreNotCounted(t *testing.T) {
	g, _ := startPeer(t, throttled(3))
	me := from()
	for range 100 {
		g.get("/v1/x", withKey, me).want(t, 200, "proxy-access-granted")
	}
	for range 3 {
		g.get("/v1/x", "Authorization: Basic "+basicText("bob", "wrong"), me).want(t, 401, "proxy-access-denied")
	}
	a := g.get("/v1/x", "Authorization: Basic "+basicText("bob", "wrong"), me)
	if a.want(t, 429, "too-many-failures"); a.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	g.get("/v1/x", withKey, me).want(t, 200, "proxy-access-granted")
}

// The address of a client was read from the connection or from any header, instead of from what the server has worked
// out.
// Sources: CVE-2026-46415
// Here: Failures are counted for the address that Caddy says, which believes `X-Forwarded-For` from trusted proxies alone.
// Topic: throttle
func TestPeer_CVE_2026_46415_InventedAddresses(t *testing.T) {
	site := strings.Replace(throttled(3), "trusted_proxies static 127.0.0.1/32", "trusted_proxies static 203.0.113.7/32", 1)
	g, _ := startPeer(t, site)
	seen := map[int]int{}
	for n := range 30 {
		seen[g.get("/v1/x", "Authorization: Basic "+basicText("bob", fmt.Sprint("guess-", n)), from(), "X-Real-IP: 10.0.0."+fmt.Sprint(n)).Status]++
	}
	if seen[401] > 3 || seen[429] < 27 {
		t.Errorf("30 guesses from invented addresses get %v", seen)
	}
}

// A key was written into the log, whole or cut, with an error or at level debug.
// Sources: TykTechnologies/tyk#5080, apache/apisix#13205, apache/apisix#13502, CVE-2026-31924
// Here: With `format rr`, no line of Caddy or rr at level DEBUG has a credential of the caller or of the upstream, not even its first
// characters; the names of headers stay.
// Topic: logs
func TestPeer_tyk_5080_NoKeyInLogs(t *testing.T) {
	site := strings.Replace(proxies(strings.Replace(peerProxy("p", "key {env.RR_VENDOR} {\nheader X-Vendor-Key\n}"), "{env.RR_CALLER}", "{env.RR_CALLER} {\nfrom header X-Gateway-Key\nfrom query key\n}", 1)), "{\n\trr", "{\n\tlog {\n\t\tformat rr\n\t\tlevel DEBUG\n\t}\n\tservers {\n\t\tlog_credentials\n\t\ttrace\n\t}\n\trr", 1)
	site = strings.Replace(site, "rr_gateway\n", "log {\n\t\tformat rr\n\t}\n\trr_gateway\n", 1)
	g, _ := startPeer(t, site)
	const wrong = "wrong-key-0123456789abcdefghij"
	g.get("/p/x?key="+callerKey, "X: y").want(t, 200, "proxy-access-granted")
	g.get("/p/x", "X-Gateway-Key: "+callerKey, "Authorization: Bearer "+wrong).want(t, 200, "proxy-access-granted")
	g.get("/p/x", "X-Gateway-Key: "+wrong).want(t, 401, "proxy-access-denied")
	g.get("/p/x?key="+wrong, "X: y").want(t, 401, "proxy-access-denied")
	g.WaitLog("upstream roundtrip")
	g.WaitLog("refused")
	logs := g.Logs()
	for _, secret := range []string{callerKey, vendorKey, wrong} {
		for _, part := range []string{secret, secret[:16], secret[len(secret)-12:]} {
			if i := strings.Index(logs, part); i >= 0 {
				t.Errorf("the log has %q in …%s", part, logs[max(0, i-200):i])
			}
		}
	}
	if !strings.Contains(logs, "X-Gateway-Key") || !strings.Contains(logs, "key=") {
		t.Error("the names are not in the log")
	}
}

// Redaction took the names of what it hides along, so that nobody could see which key had been sent.
// Sources: NVIDIA/OpenShell#569
// Here: A hidden value leaves its header, parameter or field name in place.
// Topic: logs
func TestPeer_openshell_569_NamesStay(t *testing.T) {
	site := strings.Replace(proxies(peerProxy("p", "key {env.RR_VENDOR} {\nheader X-Vendor-Key\n}")), "{\n\trr", "{\n\tlog {\n\t\tformat rr\n\t\tlevel DEBUG\n\t}\n\trr", 1)
	g, _ := startPeer(t, site)
	g.get("/p/x?page=2", withKey, "X-Plain: shown-as-it-is").want(t, 200, "proxy-access-granted")
	g.WaitLog("upstream roundtrip")
	if logs := g.Logs(); !strings.Contains(logs, "shown-as-it-is") || !strings.Contains(logs, "page=2") || strings.Contains(logs, vendorKey) {
		t.Error("too much or too little is hidden")
	}
}

// Agents took every refusal for one by the vendor, or for a reason to try again.
// Sources: onecli/onecli#186, onecli/onecli#504, coupergateway/couper#719
// Here: `RR-Proxy-Code` is on every answer of the gateway and on every forwarded one, a forged one is removed; 401 has a challenge for each scheme
// (RFC 6750, RFC 7617), 429 and 503 Retry-After.
// Topic: answers
func TestPeer_onecli_186_WhoRefused(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	both := strings.Replace(jwtOf("p", p, "scope write"), "target", "accept basic bob {env.RR_OTHER}\ntarget", 1)
	g, u := startPeer(t, proxies(both))
	u.Handle("/v401", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("RR-Proxy-Code", "proxy-access-denied")
		w.Header().Set("WWW-Authenticate", `Bearer realm="the vendor"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	auth := "Authorization: Basic " + basicText("bob", otherKey)
	vendors := g.get("/p/v401", auth)
	if vendors.want(t, 401, "proxy-access-granted"); len(vendors.Header["Rr-Proxy-Code"]) != 1 || vendors.Header.Get("WWW-Authenticate") != `Bearer realm="the vendor"` {
		t.Errorf("the vendor's refusal has %v", vendors.Header)
	}
	own := g.get("/p/x")
	own.want(t, 401, "proxy-access-denied")
	if c := strings.Join(own.Header["Www-Authenticate"], "; "); !strings.Contains(c, "Bearer realm=") || !strings.Contains(c, "Basic realm=") || own.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("the refusal has %v", own.Header)
	}
	scope := g.get("/p/x", bearer(p.Token("k1", map[string]any{"scope": "read"}, nil)))
	if scope.want(t, 403, "proxy-access-denied"); !strings.Contains(scope.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
		t.Errorf("a scope too few has %v", scope.Header)
	}
}

// Whether a key or a route exists could be told from the answers.
// Sources: TykTechnologies/tyk, onecli/onecli#186
// Here: A proxy that does not exist answers like one that does, to whoever is not recognised.
// Topic: answers
func TestPeer_Requirement_NamesCannotBeGuessed(t *testing.T) {
	g, _ := startPeer(t, proxies(peerProxy("exists", vendor)))
	for _, headers := range [][]string{{"X: y"}, {"X-API-Key: wrong"}, {"Authorization: Basic eDp5"}} {
		a, b := g.get("/exists/x", headers...), g.get("/nothing/x", headers...)
		a.Header.Del("Date")
		b.Header.Del("Date")
		if a.Status != 401 || fmt.Sprint(a.Status, a.Header, a.Body) != fmt.Sprint(b.Status, b.Header, b.Body) {
			t.Errorf("%v:\n%d %v %s\n%d %v %s", headers, a.Status, a.Header, a.Body, b.Status, b.Header, b.Body)
		}
	}
}

// A counter had a value for each name that callers made up, and grew without end.
// Sources: NVIDIA/OpenShell
// Here: Series have the names of proxies that exist, and no texts of callers.
// Topic: audit
func TestPeer_Requirement_LabelsAreBounded(t *testing.T) {
	g, _ := startPeer(t, proxies(peerProxy("p", vendor)))
	g.get("/p/x", withKey).want(t, 200, "proxy-access-granted")
	lines := func() int { return strings.Count(g.Metrics(), "caddy_rr_") }
	g.get("/made-up/x")
	before := lines()
	for n := range 100 {
		g.do(fmt.Sprint("M", n), fmt.Sprintf("/made-up-%d/x", n), "", fmt.Sprintf("X-API-Key: wrong-%d", n))
	}
	if after := lines(); after > before+5 || strings.Contains(g.Metrics(), "made-up") {
		t.Errorf("%d series became %d", before, after)
	}
}
