package test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// TestStoredKeysDoNotMix: keys that were fetched with other headers are other keys.
func TestStoredKeysDoNotMix(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	ka, kb := idp.NewKey(t, "ES256", "k"), idp.NewKey(t, "ES256", "k")
	var down atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(503)
			return
		}
		k := ka
		if r.Header.Get("X-Tenant") == "b" {
			k = kb
		}
		w.Write(jwkSet(k))
	}))
	defer srv.Close()
	cfg := `
{
	rr {
		throttle off
		proxy a {
			accept jwt_verify {
				jwks_url JWKS
				request_header X-Tenant a
				audience https://gateway.example
			}
			target UPSTREAM
			present bearer {env.VENDOR_KEY}
		}
		proxy b {
			accept jwt_verify {
				jwks_url JWKS
				request_header X-Tenant b
				audience https://gateway.example
			}
			target UPSTREAM
			present bearer {env.VENDOR_KEY}
		}
	}
}
:GATEPORT {
	rr_gateway /api/*
}
`
	g := start(t, cfg, "JWKS", srv.URL+"/keys", "UPSTREAM", u.URL)
	ta, tb := bearer(ka.Token(claims(nil), nil)), bearer(kb.Token(claims(nil), nil))
	g.get("/api/a/", ta).want(t, 200, "proxy-access-granted")
	g.get("/api/b/", tb).want(t, 200, "proxy-access-granted")
	g.get("/api/a/", tb).want(t, 401, "proxy-access-denied")
	rrtest.Eventually(t, "both sets are stored", func() bool {
		stored, _ := filepath.Glob(filepath.Join(g.Dir, "rr", "jwks", "*.json"))
		return len(stored) == 2
	})
	down.Store(true)
	if err := g.reload("{\n\tadmin off\n}\n:GATEPORT {\n\trespond ok\n}\n"); err != nil {
		t.Fatal(err)
	}
	if err := g.reload(cfg); err != nil {
		t.Fatal(err)
	}
	g.get("/api/a/", ta).want(t, 200, "proxy-access-granted")
	g.get("/api/a/", tb).want(t, 401, "proxy-access-denied")
	g.get("/api/b/", tb).want(t, 200, "proxy-access-granted")
}

// TestReplacedCAIsNotTrusted: a reload takes over what a CA file says now.
func TestReplacedCAIsNotTrusted(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	ca1, ca2 := rrtest.NewCA(t), rrtest.NewCA(t)
	p := idp.New(t, idp.TLS(ca1.Leaf(t, "127.0.0.1", "localhost")))
	p.AddKey("ES256", "k1")
	p.CacheControl("max-age=1")
	path := filepath.Join(t.TempDir(), "ca.pem")
	write := func(ca *rrtest.CA) {
		t.Helper()
		b, err := os.ReadFile(ca.File)
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(ca1)
	cfg := strings.NewReplacer("LINES", issued(p, "ca {file."+path+"}\nrefresh_min 1s\nrefresh_max 1s"), "UPSTREAM", u.URL).Replace(jwtProxy)
	g := start(t, strings.Replace(cfg, "RULES", "default allow", 1))
	g.get("/", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	write(ca2) // ca1 is no longer trusted
	if err := g.reload(strings.Replace(cfg, "RULES", "deny /zzz", 1)); err != nil {
		t.Fatal(err)
	}
	rrtest.Eventually(t, "the issuer is not trusted any more", func() bool {
		return strings.Contains(g.Logs(), "fetching the issuer's keys failed")
	})
	n := p.JWKSFetches()
	time.Sleep(2 * time.Second) // time for two fetches
	if more := p.JWKSFetches() - n; more > 0 {
		t.Errorf("%d fetches from a server whose CA was taken out", more)
	}
}

// TestOneProofForTwoVerifiers: a proof is used once for a request, whoever looks at it.
func TestOneProofForTwoVerifiers(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	acc := func(scope string) string { return "accept jwt_verify {\n" + issued(p, "scope "+scope) + "\n}\n" }
	g := start(t, twoAccepts, "A", acc("admin"), "B", acc("read"), "UPSTREAM", u.URL)
	client := idp.NewProver(t, "ES256")
	tok := p.Token("k1", map[string]any{"scope": "read", "cnf": client.Confirmation()}, nil)
	url := "http://" + g.addr + "/x"
	plain := p.Token("k1", map[string]any{"scope": "read"}, nil)
	g.get("/x", bearer(plain)).want(t, 200, "proxy-access-granted")
	a := g.get("/x", "Authorization: DPoP "+tok, "DPoP: "+client.Proof("GET", url, tok, nil, nil))
	a.want(t, 200, "proxy-access-granted")
}

// TestInlineGatesHoldTheirOwnStreams: another handler that would let a caller in does not keep
// the stream open that this one would end.
func TestInlineGatesHoldTheirOwnStreams(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	cfg := `
:GATEPORT {
	handle /a/* {
		rr_verify {
			accept jwt_verify {
				ONE
			}
		}
		rr_inject {
			present bearer {env.VENDOR_KEY}
		}
		reverse_proxy UPADDR
	}
	handle /b/* {
		rr_verify {
			accept jwt_verify {
				TWO
			}
		}
		rr_inject {
			present bearer {env.VENDOR_KEY}
		}
		reverse_proxy UPADDR
	}
}
`
	ev := rrtest.NewEvents()
	u.Handle("/a/s", ev)
	up := strings.TrimPrefix(u.URL, "http://")
	fill := func(one string) string {
		return strings.NewReplacer("ONE", issued(p, one), "TWO", issued(p, ""), "UPADDR", up).Replace(cfg)
	}
	g := start(t, fill(""))
	tok := bearer(p.Token("k1", map[string]any{"jti": "bad"}, nil))
	res, err := rrtest.HTTP1(t, nil).Do(rrtest.Request(t, "GET", "http://"+g.addr+"/a/s", "", tok))
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	if err := g.reload(fill("revoked jti bad")); err != nil {
		t.Fatal(err)
	}
	g.get("/a/x", tok).want(t, 401, "proxy-access-denied")
	if !endsWithin(res.Body, 3*time.Second) {
		t.Error("revoked at /a, but its stream lives on since /b would let the token in")
		ev.Send(t, "x")
	}
}
