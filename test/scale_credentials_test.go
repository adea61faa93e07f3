//go:build unix

package test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/bolt"
	"github.com/caddy-rr/caddy-rr/verify"
)

// perProxy is how many credentials a proxy of the scale test accepts.
const perProxy = 1000

// credentials measures a store of n key credentials; promises are for the largest.
func (s *scale) credentials(t *testing.T, n int) {
	dir := t.TempDir()
	up := scaleUpstream(t)
	began := time.Now()
	seedScale(t, dir, n, up)
	t.Logf("%d credentials written in %v", n, time.Since(began).Round(time.Millisecond))
	each := 0.0
	if n == s.n {
		each = s.rest(t, dir)
	}
	s.requests(t, dir, n, each)
}

// scaleUpstream answers everything, as cheaply as net/http can.
func scaleUpstream(t *testing.T) (url string) {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(up.Close)
	return up.URL
}

func scaleStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	b := &bolt.Bolt{Path: filepath.Join(dir, "rr.db")}
	backend, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Backend: backend, KeyFile: filepath.Join(dir, "rr.key")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func scaleKey(i int) string { return fmt.Sprintf("rr_live_scale-%032d", i) }

// seedScale writes a store with n key credentials, all of them accepted by some proxy and
// used before.
func seedScale(t *testing.T, dir string, n int, upstream string) {
	t.Helper()
	s := scaleStore(t, dir)
	head := func() store.Head {
		id, err := uuid.NewV7()
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC().Truncate(time.Millisecond)
		return store.Head{ID: id.String(), Client: store.DefaultClient, CreatedAt: now, UpdatedAt: now}
	}
	apply := func(puts []store.Put) {
		if _, err := s.Apply(t.Context(), puts...); err != nil {
			t.Fatal(err)
		}
	}
	target := &store.Target{Head: head(), Name: "vendor", URL: upstream}
	injected := &store.Credential{Head: head(), Name: "vendor-key", Side: store.TargetSide, AuthType: "bearer",
		Spec: store.Secret(`{"kind":"bearer","token":"sk_test_0123456789abcdef"}`)}
	apply([]store.Put{
		{Bucket: store.Targets, Key: target.ID, Version: 1, Value: target},
		{Bucket: store.Credentials, Key: injected.ID, Version: 1, Value: injected},
	})
	for i := 0; i < n; i += perProxy {
		var puts []store.Put
		p := &store.Proxy{Head: head(), Name: fmt.Sprintf("p%d", i/perProxy), TargetID: target.ID, TargetCredentialID: injected.ID,
			Rules: []store.Rule{{ID: "r", Rule: rule.Rule{Effect: rule.Allow, Paths: []string{"/ok"}}}}}
		for j := i; j < min(i+perProxy, n); j++ {
			c := &store.Credential{Head: head(), Name: fmt.Sprintf("caller-%07d", j), Side: store.ProxySide, AuthType: "key",
				Spec: store.Secret(`{"kind":"key","hashes":["` + verify.FormatHash(scaleKey(j)) + `"]}`)}
			p.CredentialIDs = append(p.CredentialIDs, c.ID)
			puts = append(puts, store.Put{Bucket: store.Credentials, Key: c.ID, Version: 1, Value: c})
		}
		apply(append(puts, store.Put{Bucket: store.Proxies, Key: p.ID, Version: 1, Value: p}))
		var used []store.Put // a while ago
		for _, id := range p.CredentialIDs {
			used = append(used, store.Put{Bucket: store.Used, Key: id, Version: 1, Value: time.Now().AddDate(0, 0, -1).Unix() / 60})
		}
		apply(used)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// rest measures the room that records take, and single changes, without requests.
func (s *scale) rest(t *testing.T, dir string) (each float64) {
	st := scaleStore(t, dir)
	before := heap()
	began := time.Now()
	r, err := catalog.OpenRecords(t.Context(), st, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	started := time.Since(began)
	each = (heap() - before) / float64(s.n)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	c := catalog.New(ctx, zap.NewNop(), catalog.Options{})
	if err := c.Open(r); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer c.Close()
	creates, deletes := s.changes(t, c)
	s.promise("start (records read)", started.Round(time.Millisecond).String(), "≤ 10 s", started <= 10*time.Second)
	s.promise("heap for each, at rest", fmt.Sprintf("%.0f bytes", each), "≤ 400 bytes", each <= 400)
	s.promise("one create (median)", creates.Round(time.Microsecond).String(), "≤ 5 ms", creates <= 5*time.Millisecond)
	s.promise("one delete (median)", deletes.Round(time.Microsecond).String(), "≤ 5 ms", deletes <= 5*time.Millisecond)
	return each
}

// changes creates and deletes credentials and gives the medians.
func (s *scale) changes(t *testing.T, c *catalog.Catalog) (create, remove time.Duration) {
	var creates, deletes []time.Duration
	who := audit.Actor{Kind: "admin", Name: "scale"}
	for i := range 101 {
		rec := &store.Credential{Head: store.Head{Client: store.DefaultClient}, Name: fmt.Sprintf("new-%d", i), Side: store.ProxySide, AuthType: "key",
			Spec: store.Secret(`{"kind":"key","hashes":["` + verify.FormatHash(scaleKey(s.n+i)) + `"]}`)}
		began := time.Now()
		if err := c.Change(t.Context(), who, func(tx *catalog.Tx) error { return tx.Put("create", rec) }); err != nil {
			t.Fatal(err)
		}
		creates = append(creates, time.Since(began))
		began = time.Now()
		if err := c.Change(t.Context(), who, func(tx *catalog.Tx) error { return tx.Delete(rec, false) }); err != nil {
			t.Fatal(err)
		}
		deletes = append(deletes, time.Since(began))
	}
	slices.Sort(creates)
	slices.Sort(deletes)
	return creates[50], deletes[50]
}

// requests measures what it costs to recognise a caller: the same one always, and any of n.
func (s *scale) requests(t *testing.T, dir string, n int, each float64) {
	g := startScaled(t, `
		egress allow 127.0.0.0/8
		store bolt `+filepath.Join(dir, "rr.db"), "rr_gateway /api/*")
	ask := func(path string, want int) func(int) {
		return func(i int) { g.ask(fmt.Sprintf("/api/p%d%s", i/perProxy, path), scaleKey(i), want) }
	}
	before := heap()
	for i := 0; i < n; i += perProxy {
		ask("/ok", http.StatusOK)(i)
	}
	compiled := (heap() - before) / float64(n)
	// recognised, and denied by the proxy's default; recognised and forwarded
	look := s.anyOf(20_000, n, ask("/no", http.StatusForbidden))
	whole := s.anyOf(4_000, n, ask("/ok", http.StatusOK))
	// any key of one proxy; they are as many as a proxy may accept
	first := rand.IntN(n/perProxy+1) * perProxy % n
	within := s.anyOf(4_000, min(n, perProxy), func(i int) { ask("/ok", http.StatusOK)(first + i) })
	s.add(scaleLine{what: "credentials in the store", number: n, start: g.start, reload: g.reload, heap: g.heap, each: each, request: whole})
	if n == s.n {
		s.promise("more heap for each, once its proxy was asked for", fmt.Sprintf("%.0f bytes", compiled), "", true)
		s.promise("recognise a caller, then refuse: any of all / always the same", look.text(), "", true)
		s.promise("the same, forwarded", whole.text(), "≤ 1.1", whole.ratio <= 1.1)
		s.promise("forwarded, any of one proxy's keys / always the same", within.text(), "≤ 1.1", within.ratio <= 1.1)
	}
}
