package jwks

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
)

const (
	issuerURL = "https://issuer.example/tenant"
	keysURL   = "https://issuer.example/keys"
)

var errDown = errors.New("connection refused")

// issuer stands for the other side, without a network, so that it can be in a bubble of
// testing/synctest.
type issuer struct {
	mu        sync.Mutex
	documents map[string]string // by URL
	header    http.Header       // of all answers
	status    int               // of all answers, 200 if 0
	down      bool
	delay     time.Duration
	hang      bool
	requests  []request
}

type request struct {
	url    string
	own    bool
	header http.Header
}

// newIssuer shows keys with these kids at keysURL.
func newIssuer(kids ...string) *issuer {
	i := &issuer{documents: make(map[string]string), header: http.Header{}}
	i.show(kids...)
	return i
}

// show replaces the keys.
func (i *issuer) show(kids ...string) { i.set(func() { i.documents[keysURL] = keySet(kids...) }) }

func (i *issuer) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

// count is how often an address was asked for.
func (i *issuer) count(url string) (n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range i.requests {
		if r.url == url {
			n++
		}
	}
	return n
}

func (i *issuer) send(ctx context.Context, own bool, req *http.Request) (*fetch.Response, error) {
	i.mu.Lock()
	i.requests = append(i.requests, request{req.URL.String(), own, req.Header})
	body, ok := i.documents[req.URL.String()]
	down, hang, delay, status, header := i.down, i.hang, i.delay, i.status, i.header.Clone()
	i.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case down:
		return nil, errDown
	case status != 0:
	case ok:
		status = http.StatusOK
	default:
		status = http.StatusNotFound
	}
	return &fetch.Response{Status: status, Header: header, Body: []byte(body)}, nil
}

// jwk is an Ed25519 key that its kid decides.
func jwk(kid string) string {
	seed := sha256.Sum256([]byte(kid))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	member := map[string]string{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)}
	if !strings.HasPrefix(kid, "nameless") {
		member["kid"] = kid
	}
	b, _ := json.Marshal(member)
	return string(b)
}

func keySet(kids ...string) string {
	var keys []string
	for _, kid := range kids {
		keys = append(keys, jwk(kid))
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

// newSource makes a Source of an issuer that has not started.
func newSource(i *issuer, change ...func(*Config)) *Source {
	c := Config{URL: keysURL}
	for _, f := range change {
		f(&c)
	}
	s := New(c)
	s.send = i.send
	return s
}

// bubble runs a test whose clock stands still while anybody is at work.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// start starts a Source and lets its first fetch end.
func start(t *testing.T, s *Source) {
	t.Helper()
	s.Start()
	t.Cleanup(s.Stop)
	synctest.Wait()
}

// pass lets time pass, and then all that it set going.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func find(t *testing.T, s *Source, kid string) error {
	t.Helper()
	keys, set, err := s.Keys(t.Context(), kid, true, "EdDSA")
	if err != nil {
		if keys != nil || set != nil {
			t.Errorf("%s: there are keys and an error", kid)
		}
		return err
	}
	if len(keys) == 0 || set == nil {
		t.Errorf("%s: no keys and no error", kid)
	}
	return nil
}

func expectFound(t *testing.T, s *Source, kid string) {
	t.Helper()
	if err := find(t, s, kid); err != nil {
		t.Errorf("%s: %v", kid, err)
	}
}

func expectUnknown(t *testing.T, s *Source, kid string) {
	t.Helper()
	if err := find(t, s, kid); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("%.20s: %v, want that it is unknown", kid, err)
	}
}

// expectUnavailable returns the RetryAfter.
func expectUnavailable(t *testing.T, s *Source, kid string) time.Duration {
	t.Helper()
	var u *Unavailable
	if err := find(t, s, kid); !errors.As(err, &u) {
		t.Errorf("%s: %v, want that it is not available", kid, err)
		return 0
	}
	if u.RetryAfter < time.Second || u.Err == nil {
		t.Errorf("%s: retry after %v because of %v", kid, u.RetryAfter, u.Err)
	}
	return u.RetryAfter
}

func expectFetches(t *testing.T, i *issuer, url string, want int) {
	t.Helper()
	if got := i.count(url); got != want {
		t.Errorf("%s was fetched %d times, want %d", url, got, want)
	}
}

// watch counts the changes that a Source tells of.
func watch(s *Source) (count *atomic.Int32) {
	count = new(atomic.Int32)
	s.Subscribe(func() { count.Add(1) })
	return count
}

// withLog has the log observed.
func withLog() (*observer.ObservedLogs, func(*Config)) {
	core, logs := observer.New(zap.DebugLevel)
	return logs, func(c *Config) { c.Log = zap.New(core) }
}

// memory is a Storage.
type memory struct {
	mu     sync.Mutex
	data   map[string][]byte
	stores int
	fail   error
	hang   bool
}

func (m *memory) Load(ctx context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	data, ok, hang, fail := m.data[key], m.data[key] != nil, m.hang, m.fail
	m.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if fail != nil {
		return nil, fail
	}
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(data), nil
}

func (m *memory) Store(_ context.Context, key string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.data == nil {
		m.data = make(map[string][]byte)
	}
	m.data[key] = slices.Clone(data)
	m.stores++
	return nil
}

// only is the one record.
func (m *memory) only(t *testing.T) (key string, data []byte) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.Collect(maps.Keys(m.data))
	if len(keys) != 1 {
		t.Fatalf("the storage has %v", keys)
	}
	return keys[0], m.data[keys[0]]
}

func kidsOf(set *jose.Set) (kids []string) {
	if set == nil {
		return nil
	}
	for _, k := range set.Keys() {
		kids = append(kids, k.ID)
	}
	return kids
}
