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

	"github.com/santhosh-tekuri/jsonschema/v6"

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

// document is the OpenAPI document, for validation.
type document struct {
	text     []byte
	tree     map[string]any
	mux      *http.ServeMux
	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

var documentOf = func() func(t testing.TB) *document {
	var once sync.Once
	var d *document
	return func(t testing.TB) *document {
		once.Do(func() { d = readDocument(t) })
		if d == nil {
			t.Fatal("the OpenAPI document could not be read")
		}
		return d
	}
}()

func readDocument(t testing.TB) *document {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/rr/openapi.json", nil)
	w := httptest.NewRecorder()
	api.New(newFake(t), api.Options{Prefix: "/rr", Version: "test"}).ServeHTTP(w, r.WithContext(api.WithPrincipal(r.Context(), root)))
	d := &document{text: w.Body.Bytes(), mux: http.NewServeMux(), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.text))
	if err != nil {
		t.Fatal(err)
	}
	d.tree = tree.(map[string]any)
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("https://openapi.test/", d.tree); err != nil {
		t.Fatal(err)
	}
	for path := range d.tree["paths"].(map[string]any) {
		d.mux.HandleFunc(path, func(http.ResponseWriter, *http.Request) {})
	}
	return d
}

// schema compiles the schema at a place.
func (d *document) schema(t testing.TB, places ...string) *jsonschema.Schema {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	escaped := make([]string, len(places))
	for i, p := range places {
		escaped[i] = strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "+", "%2B", ";", "%3B", " ", "%20", "=", "%3D").Replace(p)
	}
	at := "https://openapi.test/#/" + strings.Join(escaped, "/")
	if s := d.schemas[at]; s != nil {
		return s
	}
	s, err := d.compiler.Compile(at)
	if err != nil {
		t.Fatalf("schema %s: %v", at, err)
	}
	d.schemas[at] = s
	return s
}

func member(v any, names ...string) any {
	for _, n := range names {
		m, _ := v.(map[string]any)
		v = m[n]
	}
	return v
}

// operation finds the path and operation that a request is for; nil if there is none.
func (d *document) operation(method, path string) (string, map[string]any) {
	path = strings.TrimPrefix(path, "/rr")
	if rest, ok := strings.CutPrefix(path, "/api/"); ok {
		path = "/" + rest
	}
	r, err := http.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return "", nil
	}
	_, pattern := d.mux.Handler(r)
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, _ := member(d.tree, "paths", pattern, strings.ToLower(method)).(map[string]any)
	return pattern, op
}

// judge holds an answer against what is documented.
func (d *document) judge(t testing.TB, r *http.Request, a *answer) {
	t.Helper()
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	for name := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("the answer has %s", name)
		}
	}
	media := a.Header.Get("Content-Type")
	pattern, op := d.operation(r.Method, r.URL.Path)
	if op == nil {
		if a.StatusCode/100 != 2 {
			d.validate(t, a.body, "components", "schemas", "Problem")
		}
		return
	}
	method := strings.ToLower(r.Method)
	if r.Method == http.MethodHead {
		method = "get"
		if a.StatusCode == http.StatusMethodNotAllowed {
			return
		}
	}
	response, ok := member(op, "responses", strconv.Itoa(a.StatusCode)).(map[string]any)
	if !ok {
		t.Errorf("%s %s answers %d, which is not documented: %s", r.Method, pattern, a.StatusCode, a.body)
		return
	}
	place := []string{"paths", pattern, method, "responses", strconv.Itoa(a.StatusCode)}
	if ref, ok := response["$ref"].(string); ok {
		place = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		response = member(d.tree, place...).(map[string]any)
	}
	content, _ := response["content"].(map[string]any)
	if a.StatusCode == http.StatusNotModified || r.Method == http.MethodHead {
		return
	}
	if content[media] == nil {
		t.Errorf("%s %s answers %d with %q, which is not documented", r.Method, pattern, a.StatusCode, media)
		return
	}
	if !strings.HasSuffix(media, "json") || media == "application/x-ndjson" {
		return
	}
	d.validate(t, a.body, append(place, "content", media, "schema")...)
	if media == "application/problem+json" {
		d.knowsCode(t, r, response, a)
	}
}

// knowsCode checks that the code of a problem is documented for the operation.
func (d *document) knowsCode(t testing.TB, r *http.Request, response map[string]any, a *answer) {
	t.Helper()
	var p struct{ Code string }
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Error(err)
	}
	if member(response, "content", "application/problem+json", "examples", p.Code) == nil {
		t.Errorf("%s %s answers %d %q, a code that is not documented", r.Method, r.URL.Path, a.StatusCode, p.Code)
	}
}

func (d *document) validate(t testing.TB, body []byte, place ...string) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Errorf("no JSON: %s", body)
		return
	}
	if err := d.schema(t, place...).Validate(v); err != nil {
		t.Errorf("not as documented: %v\n%s", err, body)
	}
}

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
