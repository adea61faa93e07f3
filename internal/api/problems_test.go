package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/store"
)

func TestRefusedRequests(t *testing.T) {
	target := fmt.Sprintf(targetBody, "a")
	for _, c := range []struct {
		name, method, path, body string
		options                  []option
		status                   int
		code                     string
		places                   []string
	}{
		{name: "no such path", method: "GET", path: "/nothing", status: 404, code: "not-found"},
		{name: "root", method: "GET", path: "/", status: 404, code: "not-found"},
		{name: "slash at the end", method: "GET", path: "/clients/", status: 404, code: "not-found"},
		{name: "filters, which there are none of", method: "GET", path: "/clients/acme/proxies/p/filters", status: 404, code: "not-found"},
		{name: "wrong method", method: "PATCH", path: "/clients/acme", status: 405, code: "method-not-allowed"},
		{name: "wrong method on a list", method: "DELETE", path: "/clients", status: 405, code: "method-not-allowed"},
		{name: "HEAD of a consent", method: "HEAD", path: "/oauth2/callback?state=x", status: 405, code: ""},
		{name: "no content type", method: "POST", path: "/clients/acme/targets", body: target, options: []option{contentType("")}, status: 415, code: "unsupported-media-type"},
		{name: "text", method: "POST", path: "/clients/acme/targets", body: target, options: []option{contentType("text/plain")}, status: 415, code: "unsupported-media-type"},
		{name: "form", method: "POST", path: "/clients/acme/targets", body: target, options: []option{contentType("application/x-www-form-urlencoded")}, status: 415, code: "unsupported-media-type"},
		{name: "form without a body", method: "POST", path: "/store/rotate-key", options: []option{contentType("application/x-www-form-urlencoded")}, status: 415, code: "unsupported-media-type"},
		{name: "form for an optional body", method: "POST", path: "/clients/acme/credentials/c/oauth2/authorize", options: []option{contentType("text/plain")}, status: 415, code: "unsupported-media-type"},
		{name: "JSON of another kind", method: "POST", path: "/clients/acme/targets", body: target, options: []option{contentType("application/json-patch+json")}, status: 415, code: "unsupported-media-type"},
		{name: "other characters", method: "POST", path: "/clients/acme/targets", body: target, options: []option{contentType("application/json; charset=utf-16")}, status: 415, code: "unsupported-media-type"},
		{name: "two content types", method: "POST", path: "/clients/acme/targets", body: target, options: []option{header("Content-Type", "text/plain")}, status: 415, code: "unsupported-media-type"},
		{name: "compressed", method: "POST", path: "/clients/acme/targets", body: target, options: []option{header("Content-Encoding", "gzip")}, status: 415, code: "unsupported-media-type"},
		{name: "no body", method: "POST", path: "/clients/acme/targets", options: []option{contentType("application/json")}, status: 400, code: "bad-json", places: []string{""}},
		{name: "half a body", method: "POST", path: "/clients/acme/targets", body: `{"targetName":`, status: 400, code: "bad-json", places: []string{""}},
		{name: "two bodies", method: "POST", path: "/clients/acme/targets", body: `{}{}`, status: 400, code: "bad-json", places: []string{""}},
		{name: "a list", method: "POST", path: "/clients/acme/targets", body: `[]`, status: 422, code: "invalid", places: []string{""}},
		{name: "null", method: "POST", path: "/clients/acme/targets", body: `null`, status: 422, code: "invalid", places: []string{""}},
		{name: "twice", method: "POST", path: "/clients/acme/targets", body: `{"targetName":"a","targetName":"b"}`, status: 422, code: "invalid", places: []string{"/targetName"}},
		{name: "deep", method: "POST", path: "/clients/acme/targets", body: `{"targetName":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, status: 422, code: "invalid"},
		{name: "large", method: "POST", path: "/clients/acme/targets", body: `{"targetName":"` + strings.Repeat("a", 1<<20) + `"}`, status: 413, code: "too-large"},
		{name: "not accepted", method: "GET", path: "/clients", options: []option{header("Accept", "text/html")}, status: 406, code: "not-acceptable"},
		{name: "accepted least", method: "GET", path: "/clients", options: []option{header("Accept", "application/json;q=0, */*;q=0")}, status: 406, code: "not-acceptable"},
		{name: "not accepted: nothing is made", method: "POST", path: "/clients/acme/targets", body: target, options: []option{header("Accept", "application/cbor")}, status: 406, code: "not-acceptable"},
		{name: "unknown parameter", method: "GET", path: "/clients?CANARY-name=1", status: 400, code: "bad-parameter"},
		{name: "parameter of something else", method: "DELETE", path: "/clients/acme/targets/t?limit=1", status: 400, code: "bad-parameter"},
		{name: "broken query", method: "GET", path: "/clients?limit=%zz", status: 400, code: "bad-parameter"},
		{name: "semicolon", method: "GET", path: "/clients?limit=1;force=true", status: 400, code: "bad-parameter"},
		{name: "from a page of another site", method: "POST", path: "/clients/acme/targets", body: target, options: []option{header("Sec-Fetch-Site", "cross-site")}, status: 403, code: "cross-site"},
		{name: "from a page of the same site", method: "DELETE", path: "/clients/acme", options: []option{header("Sec-Fetch-Site", "same-site")}, status: 403, code: "cross-site"},
		{name: "from an old browser", method: "POST", path: "/store/rotate-key", options: []option{header("Origin", "https://evil.example")}, status: 403, code: "cross-site"},
		{name: "no such client", method: "GET", path: "/clients/nowhere/targets", status: 404, code: "not-found"},
		{name: "no such rule", method: "GET", path: "/clients/acme/targets/t/rules/r", status: 404, code: "not-found"},
		{name: "no such record", method: "POST", path: "/clients/acme/credentials/c/rotate", body: `{}`, status: 404, code: "not-found"},
		{name: "no such proxy", method: "POST", path: "/clients/acme/proxies/p/check", body: `{"path":"/"}`, status: 404, code: "not-found"},
		{name: "check without a path", method: "POST", path: "/clients/acme/proxies/p/check", body: `{"method":"GET"}`, status: 422, code: "invalid", places: []string{"/path"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t)
			a := k.call(c.method, c.path, c.body, c.options...)
			if c.code == "" {
				a.want(c.status)
			} else if places := a.problem(c.status, c.code); c.places != nil && !slices.Equal(places, c.places) {
				t.Errorf("places %q: %s", places, a.body)
			}
			if strings.Contains(string(a.body), "CANARY") {
				t.Errorf("%s", a.body)
			}
			if (c.status == http.StatusMethodNotAllowed) != (a.Header.Get("Allow") != "") {
				t.Errorf("Allow: %q", a.Header.Get("Allow"))
			}
			for bucket, n := range map[string]int{store.Targets: 0, store.Clients: 3} {
				if len(k.fake.records[bucket]) != n {
					t.Errorf("%d %s", len(k.fake.records[bucket]), bucket)
				}
			}
		})
	}
}

func contentType(value string) option {
	return func(c *call) {
		if c.Header.Del("Content-Type"); value != "" {
			c.Header.Set("Content-Type", value)
		}
	}
}

func TestAcceptedRequests(t *testing.T) {
	k := newKit(t)
	for _, o := range []option{
		header("Accept", "*/*"), header("Accept", "application/*"), header("Accept", "text/html, application/json;q=0.1"), header("Accept", ""),
		header("Sec-Fetch-Site", "same-origin"), header("Sec-Fetch-Site", "none"),
		contentType("application/json; charset=UTF-8"), contentType("Application/JSON"),
	} {
		id, _ := k.make("acme", "targets", fmt.Sprintf(targetBody, "a"), o)
		k.call("DELETE", "/clients/acme/targets/"+id, "").want(http.StatusOK)
	}
	k.call("GET", "/clients", "", header("Sec-Fetch-Site", "cross-site")).want(http.StatusOK) // no page can read it
	a := k.call("OPTIONS", "/clients/acme", "").want(http.StatusNoContent)
	if got := a.Header.Get("Allow"); got != "GET, HEAD, PUT, DELETE, OPTIONS" {
		t.Error(got)
	}
}

// TestPaths: what is not below the mount in its one plain form is not here.
func TestPaths(t *testing.T) {
	k := newKit(t)
	for path, status := range map[string]int{
		"/rr/clients/acme": 200, "/rr/api/clients/acme": 200, "/rr/clients/%61cme": 200,
		"/rr/api/api/clients/acme": 404, "/rr//clients/acme": 404, "/rr/clients/../clients/acme": 404, "/rr/clients/./acme": 404,
		"/rr/clients/%2e%2e/clients/acme": 404, "/rr/clients%2Facme": 404, "/rr/clients/acme%2Ftargets": 404, "/rr/Clients/acme": 404,
		"/clients/acme": 404, "/rrclients/acme": 404, "/rr": 404, "/other/rr/clients/acme": 404, "/%72r/clients/acme": 404,
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		w := httptest.NewRecorder()
		k.handler.ServeHTTP(w, r.WithContext(api.WithPrincipal(r.Context(), root)))
		if w.Code != status || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestErrorsOfTheStore(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
		again  bool
	}{
		{store.ErrFull, 507, "store-full", false},
		{store.ErrReadOnly, 503, "store-read-only", true},
		{store.ErrUnavailable, 503, "store-unavailable", true},
		{catalog.ErrClosed, 503, "store-unavailable", true},
		{context.DeadlineExceeded, 503, "store-unavailable", true},
		{store.ErrConflict, 412, "stale", false},
		{store.ErrNotFound, 404, "not-found", false},
		{&catalog.Conflict{Detail: "taken", Users: []catalog.Ref{{Kind: "targets", ID: "1", Name: "a"}}}, 409, "conflict", false},
		{&catalog.Invalid{Field: "name", Detail: "bad"}, 422, "invalid", false},
		{errors.New("disk on fire at /var/lib/CANARY-path"), 500, "internal", false},
	} {
		t.Run(c.code, func(t *testing.T) {
			k := newKit(t)
			k.fake.err = fmt.Errorf("changing: %w", c.err)
			a := k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"))
			a.problem(c.status, c.code)
			if (a.Header.Get("Retry-After") != "") != c.again {
				t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
			}
			if strings.Contains(string(a.body), "CANARY") {
				t.Errorf("%s", a.body)
			}
			if logged := k.log.String(); (c.status >= 500) != strings.Contains(logged, "operation=createTarget") {
				t.Errorf("logged: %s", logged)
			}
		})
	}
}

// TestPanics: nobody learns of it but the log, which gets no value and no body.
func TestPanics(t *testing.T) {
	k := newKit(t)
	id, _, _, _ := k.proxy("acme", "p")
	k.fake.panics = true
	a := k.call("POST", "/clients/acme/proxies/"+id+"/check", `{"path":"/CANARY-body"}`)
	a.problem(http.StatusInternalServerError, "internal")
	if logged := k.log.String(); !strings.Contains(logged, "panicked") || !strings.Contains(logged, "stack=") || strings.Contains(logged, "CANARY") {
		t.Error(logged)
	}
}

// TestOtherUsersOfHuma: the library's problems are a variable of the process, and another
// plugin may have set it.
func TestOtherUsersOfHuma(t *testing.T) {
	before := huma.NewError
	t.Cleanup(func() { huma.NewError = before })
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return &Problem{Status: status, Said: fmt.Sprint(msg, errs)}
	}
	k := newKit(t)
	k.call("GET", "/clients?limit=x", "").problem(http.StatusBadRequest, "bad-parameter")
	k.call("GET", "/clients/acme/targets/none", "").problem(http.StatusNotFound, "not-found")
	k.call("POST", "/clients/acme/targets", "{").problem(http.StatusBadRequest, "bad-json")
	if text := k.call("GET", "/openapi.json", "").want(http.StatusOK).body; strings.Contains(string(text), "Said") {
		t.Error("the document has another plugin's problem")
	}
	if huma.NewError(418, "").GetStatus() != 418 || fmt.Sprintf("%T", huma.NewError(418, "")) != "*api_test.Problem" {
		t.Error("the other plugin's problem was replaced")
	}
}

// Problem has the same name as ours.
type Problem struct {
	Status int
	Said   string
}

func (p *Problem) Error() string  { return p.Said }
func (p *Problem) GetStatus() int { return p.Status }

// TestUnwantedBodies: who asks before sending a body that is refused is told to stop.
func TestUnwantedBodies(t *testing.T) {
	k := newKit(t)
	expect := header("Expect", "100-continue")
	for _, c := range []struct {
		path string
		who  option
	}{{"/clients/acme/targets", nobody()}, {"/clients/nowhere/targets", as(root)}, {"/nothing", as(root)}} {
		if a := k.call("POST", c.path, "{}", c.who, expect); a.Header.Get("Connection") != "close" {
			t.Errorf("%s: %v", c.path, a.Header)
		}
	}
	if a := k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, "a"), expect).want(http.StatusCreated); a.Header.Get("Connection") != "" {
		t.Errorf("%v", a.Header)
	}
}
