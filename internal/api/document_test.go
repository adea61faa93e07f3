package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/caddy-rr/caddy-rr/internal/api"
)

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
