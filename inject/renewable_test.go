package inject

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/redact"
)

// issuer issues tokens with a serial number in them.
type issuer struct {
	asked atomic.Int64
	takes time.Duration
}

func (i *issuer) fetch(ctx context.Context, c *caller) (token.Token, error) {
	n := i.asked.Add(1)
	select {
	case <-ctx.Done():
		return token.Token{}, ctx.Err()
	case <-time.After(i.takes):
	}
	who := ""
	if c != nil {
		who = "-for-" + c.ID
	}
	return token.Token{Value: fmt.Sprintf("token-%d%s", n, who), Type: "bearer", Expires: time.Now().Add(time.Hour)}, nil
}

func (i *issuer) want(t *testing.T, n int64) {
	t.Helper()
	if got := i.asked.Load(); got != n {
		t.Errorf("%d tokens were asked for, want %d", got, n)
	}
}

// define is a definition that is told from others by its test and name.
func define(t testing.TB, name string, i *issuer) definition {
	return definition{
		kind: "test", label: t.Name() + "/" + name, id: sha256.Sum256([]byte(t.Name() + "/" + name)),
		fetch: i.fetch,
	}
}

func byID(x *exchange.Exchange) ([32]byte, *caller, error) {
	if x.ID == "" {
		return [32]byte{}, nil, errors.New("the caller has no name")
	}
	return sha256.Sum256([]byte(x.ID)), &caller{ID: x.ID, Expires: x.Expires}, nil
}

func testContext(t testing.TB) caddy.Context {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return ctx
}

// using returns a renewable with a definition, which is let go when the test ends.
func using(t testing.TB, d definition) *renewable {
	t.Helper()
	r := new(renewable)
	if err := r.use(testContext(t), d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// request is one of the caller with this id, "" for one that nobody verified.
func request(t testing.TB, id string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/?a=b", nil)
	if id == "" {
		return r
	}
	x, _ := exchange.Begin(r.Context())
	x.ID = id
	return r.WithContext(x)
}

func wantSent(t *testing.T, r *renewable, id, want string) *http.Request {
	t.Helper()
	req := request(t, id)
	if err := r.Inject(req); err != nil {
		t.Errorf("no token: %v", err)
	} else if got := req.Header.Get("Authorization"); got != want {
		t.Errorf("%q was sent, want %q", got, want)
	}
	return req
}

func TestAReloadKeepsTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := new(issuer), new(issuer)
		old := new(renewable)
		if err := old.use(testContext(t), define(t, "x", first)); err != nil {
			t.Fatal(err)
		}
		wantSent(t, old, "", "Bearer token-1")
		next := using(t, define(t, "x", second))
		if err := old.Cleanup(); err != nil {
			t.Fatal(err)
		}
		wantSent(t, next, "", "Bearer token-1")
		wantSent(t, old, "", "Bearer token-1") // a request of before that is still under way
		second.want(t, 0)
		time.Sleep(time.Hour)
		wantSent(t, next, "", "Bearer token-1") // the second's first
		first.want(t, 1)
		second.want(t, 1)
	})
}

func TestAFailedReloadLeavesTheOldConfigurationsFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{takes: time.Second}
		r := using(t, define(t, "x", i))
		d := define(t, "x", i)
		d.fetch = func(context.Context, *caller) (token.Token, error) { // its connections end with it
			time.Sleep(2 * time.Second)
			return token.Token{}, errors.New("closed")
		}
		failed := using(t, d)
		go func() {
			time.Sleep(time.Second)
			if err := failed.Cleanup(); err != nil {
				t.Error(err)
			}
		}()
		wantSent(t, r, "", "Bearer token-1")
		i.want(t, 1)
		if states, _ := Tokens(); len(states) != 1 || states[0].Failures != 0 {
			t.Errorf("%+v", states)
		}
	})
}

func TestAChangedSecretTakesEffectAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := new(issuer), &issuer{takes: time.Second}
		r := using(t, define(t, "before", before))
		wantSent(t, r, "", "Bearer token-1")
		d := define(t, "after", after)
		d.label = ""
		if err := r.use(testContext(t), d); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		after.want(t, 1) // nobody had to ask
		wantSent(t, r, "", "Bearer token-1")
		if label := r.current.Load().label; label != t.Name()+"/before" {
			t.Errorf("its name is now %q", label)
		}
		time.Sleep(24 * time.Hour)
		before.want(t, 1) // let go
	})
}

func TestWhoWaitsForATokenThatIsDroppedGetsTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := using(t, define(t, "before", &issuer{takes: time.Hour}))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { wantSent(t, r, "", "Bearer token-1") })
		}
		time.Sleep(3 * time.Second)
		if err := r.use(testContext(t), define(t, "after", &issuer{takes: time.Second})); err != nil {
			t.Fatal(err)
		}
		wg.Wait()

		begun := time.Now()
		r = using(t, define(t, "hanging", &issuer{takes: time.Hour}))
		go func() {
			time.Sleep(3 * time.Second)
			if err := r.use(testContext(t), define(t, "hanging, too", &issuer{takes: time.Hour})); err != nil {
				t.Error(err)
			}
		}()
		if err := r.Inject(request(t, "")); err == nil || time.Since(begun) > 5*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

func TestCallersTokensNeverMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{takes: time.Second}
		d := define(t, "x", i)
		d.perCaller = byID
		r := using(t, d)
		var wg sync.WaitGroup
		for n := range 100 {
			id := fmt.Sprintf("user%d", n)
			for range 5 {
				wg.Go(func() {
					req := request(t, id)
					if err := r.Inject(req); err != nil || !strings.HasSuffix(req.Header.Get("Authorization"), "-for-"+id) {
						t.Errorf("%s sends %q, %v", id, req.Header.Get("Authorization"), err)
					}
				})
			}
		}
		wg.Wait()
		i.want(t, 100)
		time.Sleep(time.Minute)
		req := request(t, "user7")
		if err := r.Inject(req); err != nil {
			t.Fatal(err)
		}
		used := req.Header.Get("Authorization")
		if newer, err := r.Renew(req); err != nil || !newer {
			t.Errorf("%v, %v", newer, err)
		}
		if err := r.Inject(req); err != nil || req.Header.Get("Authorization") == used {
			t.Errorf("%q again, %v", used, err)
		}
		i.want(t, 101)
		for id, want := range map[string]string{"": "the token depends on the caller"} {
			req := request(t, id)
			if err := r.Inject(req); err == nil || !strings.Contains(err.Error(), want) || req.Header.Get("Authorization") != "" {
				t.Errorf("%q, %v", req.Header.Get("Authorization"), err)
			}
		}
	})
}

func TestCallersAreBounded(t *testing.T) {
	i := new(issuer)
	d := define(t, "x", i)
	d.local = true
	d.perCaller = func(x *exchange.Exchange) (key [32]byte, c *caller, err error) {
		copy(key[:], x.ID)
		return key, &caller{ID: x.ID}, nil
	}
	r := using(t, d)
	for n := range 10_500 {
		id := string(binary.BigEndian.AppendUint32(nil, uint32(n)))
		req := request(t, id)
		d := r.current.Load()
		if _, err := d.source(req.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.current.Load().shared.callers.Len(); n != 10_000 {
		t.Errorf("%d callers are held", n)
	}
}

func TestACallersTokenEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		d := define(t, "x", i)
		d.perCaller = byID
		r := using(t, d)
		x, _ := exchange.Begin(t.Context())
		x.ID, x.Expires = "u", time.Now().Add(time.Minute)
		s, err := r.current.Load().source(x)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Token(x)
		if err != nil || !got.Expires.Equal(x.Expires) {
			t.Errorf("it ends %v after its caller, %v", got.Expires.Sub(x.Expires), err)
		}
	})
}

func TestWhatIsNeverSent(t *testing.T) {
	for name, c := range map[string]struct{ value, want string }{
		"nothing":       {"", "empty"},
		"blanks":        {" \t", "empty"},
		"a line break":  {"abc\r\nX-Evil: 1", "cannot carry"},
		"a placeholder": {"{env.TOKEN}", "placeholder"},
		"a redaction":   {"REDACTED", "placeholder"},
		"a megabyte":    {strings.Repeat("a", 1<<20), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, local := range []bool{false, true} {
				d := define(t, fmt.Sprint(local), new(issuer))
				d.local = local
				d.fetch = func(context.Context, *caller) (token.Token, error) { return token.Token{Value: c.value}, nil }
				r := using(t, d)
				req := request(t, "")
				err := r.Inject(req)
				if err == nil || !strings.Contains(err.Error(), c.want) || len(req.Header) != 0 {
					t.Errorf("%v, %v", req.Header, err)
				}
				if c.value != "" && strings.Contains(err.Error(), c.value) {
					t.Errorf("the error shows the value: %.100q", err)
				}
			}
		})
	}
	t.Run("not provisioned", func(t *testing.T) {
		r := new(renewable)
		if err := r.Inject(request(t, "")); err == nil {
			t.Error("no error")
		}
		if _, err := r.Renew(request(t, "")); err == nil {
			t.Error("no error")
		}
		if err := r.Cleanup(); err != nil || len(r.Slots()) != 1 {
			t.Error(err, r.Slots())
		}
	})
}

func TestPlacesOfTokens(t *testing.T) {
	for name, c := range map[string]struct {
		place Slot
		kind  string
		sent  func(r *http.Request) string
		want  string
	}{
		"default":          {Slot{}, "bearer", func(r *http.Request) string { return r.Header.Get("Authorization") }, "Bearer a/b+c="},
		"no type":          {Slot{}, "", func(r *http.Request) string { return r.Header.Get("Authorization") }, "Bearer a/b+c="},
		"not an access":    {Slot{}, "N_A", func(r *http.Request) string { return r.Header.Get("Authorization") }, "Bearer a/b+c="},
		"no scheme's name": {Slot{}, "a b", func(r *http.Request) string { return r.Header.Get("Authorization") }, "Bearer a/b+c="},
		"another type":     {Slot{}, "token", func(r *http.Request) string { return r.Header.Get("Authorization") }, "token a/b+c="},
		"a header":         {Slot{InHeader, "x-session"}, "bearer", func(r *http.Request) string { return r.Header.Get("X-Session") }, "a/b+c="},
		"a parameter":      {Slot{InQuery, "t k"}, "bearer", func(r *http.Request) string { return r.URL.RawQuery }, "a=b&t+k=a%2Fb%2Bc%3D"},
		"a cookie":         {Slot{InCookie, "sid"}, "bearer", func(r *http.Request) string { return r.Header.Get("Cookie") }, "sid=a/b+c="},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := define(t, "x", new(issuer))
				d.place = c.place
				value := "a/b+c="
				d.fetch = func(context.Context, *caller) (token.Token, error) {
					defer func() { value = "next" }()
					return token.Token{Value: value, Type: c.kind}, nil
				}
				r := using(t, d)
				req := request(t, "")
				if err := r.Inject(req); err != nil || c.sent(req) != c.want {
					t.Errorf("%q was sent, want %q, %v", c.sent(req), c.want, err)
				}
				if slots := r.Slots(); len(slots) != 1 || slots[0].Validate() != nil {
					t.Errorf("slots %v", slots)
				}
				time.Sleep(10 * time.Second)
				if newer, err := r.Renew(req); err != nil || !newer {
					t.Errorf("the used token was not found in the request: %v, %v", newer, err)
				}
				if newer, err := r.Renew(req); err != nil || !newer || value != "next" {
					t.Errorf("%v, %v", newer, err)
				}
			})
		})
	}
	for _, place := range []Slot{{InPath, ""}, {InHeader, "Host"}, {InHeader, "a b"}, {"body", "x"}} {
		d := define(t, "x", new(issuer))
		d.place = place
		if err := new(renewable).use(testContext(t), d); err == nil {
			t.Errorf("a token may go into %v", place)
		}
	}
}

func TestDefinitionsThatDifferShareNothing(t *testing.T) {
	i := new(issuer)
	base := define(t, "x", i)
	different := []definition{base}
	for _, change := range []func(*definition){
		func(d *definition) { d.id[31]++ },
		func(d *definition) { d.kind = "other" },
		func(d *definition) { d.place = Slot{InHeader, "X-Token"} },
		func(d *definition) { d.timeout = time.Second },
		func(d *definition) { d.local = true },
		func(d *definition) { d.perCaller = byID },
	} {
		d := base
		change(&d)
		different = append(different, d)
	}
	for n, d := range different {
		if err := using(t, d).Inject(request(t, "u")); err != nil {
			t.Error(err)
		}
		i.want(t, int64(n+1))
	}
	other := base
	other.label = t.Name() + "/other"
	if err := using(t, other).Inject(request(t, "u")); err != nil {
		t.Error(err)
	}
	i.want(t, int64(len(different))) // two names for the same definition
}

func TestLabels(t *testing.T) {
	for place, want := range map[string]string{
		"credential erp: present oauth2":  "erp",
		"proxy erp: present oauth2":       "proxy erp",
		"rr_inject: present custom_token": "_inline",
		"":                                "_inline",
	} {
		if got := labelOf(place); got != want {
			t.Errorf("%q is %q, want %q", place, got, want)
		}
	}
}

func TestFetchedTokensAreHiddenInLogs(t *testing.T) {
	d := define(t, "x", new(issuer))
	d.fetch = func(context.Context, *caller) (token.Token, error) {
		return token.Token{Value: "canary-0123456789"}, nil
	}
	if err := using(t, d).Inject(request(t, "")); err != nil {
		t.Fatal(err)
	}
	if line := string(redact.Default().Line([]byte("it was canary-0123456789"))); strings.Contains(line, "canary") {
		t.Error(line)
	}
}

func TestStatesOfTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, held := redact.Default().AddSecret("canary-of-the-client")
		defer release()
		if !held {
			t.Fatal("the secret is not hidden")
		}
		d := define(t, "x", new(issuer))
		failing := errors.New("invalid_client: canary-of-the-client")
		good := d.fetch
		d.fetch = func(ctx context.Context, c *caller) (token.Token, error) {
			if failing != nil {
				return token.Token{}, failing
			}
			return good(ctx, c)
		}
		r := using(t, d)
		_ = r.Inject(request(t, ""))
		failing = nil
		time.Sleep(time.Minute)
		wantSent(t, r, "", "Bearer token-1")
		twin := d
		twin.label = t.Name() + "/twin"
		using(t, twin)
		using(t, d) // as during a reload

		perCaller := define(t, "callers", new(issuer))
		perCaller.perCaller = byID
		of := using(t, perCaller)
		wantSent(t, of, "u", "Bearer token-1-for-u")

		time.Sleep(time.Minute)
		states, more := Tokens()
		if len(states) != 3 || more != 0 {
			t.Fatalf("%+v, %d", states, more)
		}
		if s := states[0]; s.Credential != t.Name()+"/callers" || *s.Callers != 1 || s.ExpiresIn != nil || s.Fetches != 1 {
			t.Errorf("%+v", s)
		}
		if s := states[1]; s.Credential != t.Name()+"/twin" || *s.ExpiresIn != 59*60 || s.Fetches != 2 || s.Failures != 1 ||
			s.LastError != "invalid_client: REDACTED" || s.LastErrorAt.IsZero() || s.Kind != "test" {
			t.Errorf("%+v", s)
		}
		if states[2].Credential != t.Name()+"/x" {
			t.Errorf("%+v", states[2])
		}
	})
}

func BenchmarkToken(b *testing.B) {
	shared := define(b, "shared", new(issuer))
	perCaller := define(b, "callers", new(issuer))
	perCaller.perCaller = byID
	bearer := new(static)
	v := &value{slot: Slot{InHeader, "Authorization"}}
	text := "Bearer token-1"
	v.text.Store(&text)
	bearer.values = append(bearer.values, v)
	for name, x := range map[string]Injector{"static": bearer, "shared": using(b, shared), "caller": using(b, perCaller)} {
		b.Run(name, func(b *testing.B) {
			req := request(b, "u")
			b.ReportAllocs()
			for b.Loop() {
				if err := x.Inject(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestOnlyUsedClaimsAreKept: a source holds of its caller what its tokens are made of.
func TestOnlyUsedClaimsAreKept(t *testing.T) {
	c := &caller{ID: "1", Claims: map[string]any{
		"sub": "alice", "tenant": map[string]any{"id": "t1", "more": "x"}, "a.b": "flat", "a": map[string]any{"b": "nested"}, "large": make([]any, 100),
	}}
	before := map[string]any{}
	names := []string{"sub", "tenant.id", "a.b"}
	for _, name := range names {
		before[name], _ = c.claim(name)
	}
	c.keepOnly(append(names, "missing"))
	for _, name := range names {
		if got, err := c.claim(name); err != nil || got != before[name] {
			t.Errorf("%s is %v, %v; it was %v", name, got, err, before[name])
		}
	}
	if len(c.Claims) != len(names) {
		t.Errorf("kept are %v", c.Claims)
	}
}
