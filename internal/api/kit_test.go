package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
)

// kit is an API to call in a test. Every answer is held against the OpenAPI document.
type kit struct {
	t       testing.TB
	fake    *fake
	handler http.Handler
	log     *logBuffer
	clock   *clock
	answers *logBuffer    // all that was answered
	who     api.Principal // who calls, unless the call says
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Reset forgets everything.
func (l *logBuffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var root = api.Principal{Actor: audit.Actor{Kind: audit.Admin, Name: "admin.sock"}, Role: api.Owner, All: true}

func newKit(t testing.TB, change ...func(*api.Options)) *kit {
	t.Helper()
	k := &kit{t: t, fake: newFake(t), log: new(logBuffer), clock: &clock{now: time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)}, answers: new(logBuffer), who: root}
	o := api.Options{Prefix: "/rr", Now: k.clock.Now, Log: slog.New(slog.NewTextHandler(k.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "test"}
	for _, f := range change {
		f(&o)
	}
	k.handler = api.New(k.fake, o)
	return k
}

// call is a request.
type call struct {
	*http.Request
	as *api.Principal // nil: nobody
}

type option func(*call)

func header(name, value string) option { return func(c *call) { c.Header.Add(name, value) } }
func as(p api.Principal) option        { return func(c *call) { c.as = &p } }
func nobody() option                   { return func(c *call) { c.as = nil } }

// answer is what a call got.
type answer struct {
	t testing.TB
	*http.Response
	body []byte
}

// call sends a request below the mount. A body that is not empty is JSON, unless a header
// says otherwise.
func (k *kit) call(method, path, body string, options ...option) *answer {
	k.t.Helper()
	c := &call{httptest.NewRequest(method, "/rr"+path, strings.NewReader(body)), &k.who}
	if body != "" {
		c.Header.Set("Content-Type", "application/json")
	}
	for _, o := range options {
		o(c)
	}
	if c.as != nil {
		c.Request = c.WithContext(api.WithPrincipal(c.Context(), *c.as))
	}
	w := httptest.NewRecorder()
	k.handler.ServeHTTP(w, c.Request)
	a := &answer{k.t, w.Result(), w.Body.Bytes()}
	fmt.Fprintf(k.answers, "%s\n%v\n", a.body, a.Header)
	documentOf(k.t).judge(k.t, c.Request, a)
	return a
}

// want checks a status.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Fatalf("%d %s, want %d", a.StatusCode, a.body, status)
	}
	return a
}

// problem checks that it is a problem with a code, and returns the places at fault.
func (a *answer) problem(status int, code string) []string {
	a.t.Helper()
	a.want(status)
	var p api.Problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.Header.Get("Content-Type") != "application/problem+json" {
		a.t.Fatalf("no problem: %s %s", a.Header.Get("Content-Type"), a.body)
	}
	if p.Status != status || p.Code != code {
		a.t.Fatalf("problem %d %q, want %d %q: %s", p.Status, p.Code, status, code, a.body)
	}
	var places []string
	for _, f := range p.Errors {
		if f.Pointer != nil {
			places = append(places, *f.Pointer)
		} else {
			places = append(places, f.Parameter)
		}
	}
	return places
}

// get is a member of the answer, by names and numbers with dots between.
func (a *answer) get(path string) any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("no JSON: %s", a.body)
	}
	for name := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(x) {
				a.t.Fatalf("no %s in %s", path, a.body)
			}
			v = x[i]
		default:
			a.t.Fatalf("no %s in %s", path, a.body)
		}
	}
	return v
}

func (a *answer) text(path string) string {
	a.t.Helper()
	s, ok := a.get(path).(string)
	if !ok {
		a.t.Fatalf("no text at %s in %s", path, a.body)
	}
	return s
}

func (a *answer) etag() string { return a.Header.Get("ETag") }

// get is the body of an answer, wherever the API is mounted.
func (k *kit) get(path string) []byte {
	k.t.Helper()
	r := httptest.NewRequestWithContext(k.t.Context(), http.MethodGet, path, nil)
	w := httptest.NewRecorder()
	k.handler.ServeHTTP(w, r.WithContext(api.WithPrincipal(r.Context(), k.who)))
	if w.Code != http.StatusOK {
		k.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}
