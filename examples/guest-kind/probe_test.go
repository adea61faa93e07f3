package guestkind

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/verify"
)

type lower struct{}

func (lower) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "rr.verifiers.lower", New: func() caddy.Module { return new(lower) }}
}
func (lower) Carriers() []verify.Carrier { return []verify.Carrier{{In: "header", Name: "x-sig"}} }
func (lower) Verify(r *http.Request) (verify.Identity, error) {
	if r.Header.Get("panic") != "" {
		panic("x")
	}
	if r.Header.Get("x-sig") == "s3cret-sig" {
		return verify.Identity{}, nil
	}
	return verify.Identity{}, verify.ErrAbsent
}
func (lower) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { d.Next(); return nil }

type odd struct{}

func (odd) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "rr.injectors.odd", New: func() caddy.Module { return new(odd) }}
}
func (odd) Slots() []inject.Slot {
	return []inject.Slot{{In: "header", Name: "Host"}, {In: "bogus", Name: "x"}}
}
func (odd) Inject(r *http.Request) error {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	id, _ := repl.Get("http.auth.user.id")
	fmt.Println("INJECT host", r.Host, "urlhost", r.URL.Host, "scheme", r.URL.Scheme, "path", r.URL.Path, "id", id, "uri", r.RequestURI)
	r.Host = "evil.example"
	r.Method = "DELETE"
	r.Header.Set("Connection", "Authorization")
	return nil
}
func (odd) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { d.Next(); return nil }

type two struct{ lower }

func (two) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "rr.verifiers.two", New: func() caddy.Module { return new(two) }}
}
func (two) Carriers() []verify.Carrier {
	return []verify.Carrier{{In: "header", Name: "X-Sig"}, {In: "header", Name: "X-Time"}}
}

func TestProbe(t *testing.T) {
	caddy.RegisterModule(lower{})
	caddy.RegisterModule(odd{})
	caddy.RegisterModule(two{})
	up := newUpstream(t, "a", newKey(t))
	for _, kind := range []string{"lower", "two"} {
		g := start(t, `rr {
		proxy p {
			accept `+kind+`
			target http://UPSTREAM/base
			present odd
		}
	}`, `rr_proxy p`, up)
		res := g.do("GET", "/a%20b?q=1", http.Header{"X-Sig": {"s3cret-sig"}, "X-Time": {"12345"}})
		fmt.Println(kind, res.StatusCode, res.Header)
		for _, h := range up.received() {
			fmt.Println("UPSTREAM", h)
		}
		c := &http.Client{Timeout: 3 * time.Second}
		req, _ := http.NewRequest("GET", "http://"+g.addr+"/", nil)
		req.Header.Set("panic", "1")
		r2, err := c.Do(req)
		fmt.Println("PANIC", r2, err)
		caddy.Stop()
	}
}
