package api_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/store"
)

func TestHealth(t *testing.T) {
	reader := api.Principal{Role: api.Reader, Clients: []string{"acme"}}
	for _, c := range []struct {
		name   string
		health catalog.Health
		status int
		word   string
	}{
		{"well", catalog.Health{Open: true, Writable: true}, 200, "ok"},
		{"read-only", catalog.Health{Open: true, Err: fmt.Errorf("/var/lib/CANARY: %w", store.ErrReadOnly)}, 200, "degraded"},
		{"full", catalog.Health{Open: true, Err: store.ErrFull}, 200, "degraded"},
		{"not open", catalog.Health{Err: catalog.ErrClosed}, 503, ""},
		{"gone", catalog.Health{Open: true, Writable: true, Err: errors.New("CANARY")}, 503, ""},
		{"gone, and not written before", catalog.Health{Open: true, Err: fmt.Errorf("CANARY: %w", store.ErrUnavailable)}, 503, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t)
			k.fake.health = c.health
			for who, o := range map[string]option{"nobody": nobody(), "reader": as(reader), "owner": as(root)} {
				a := k.call("GET", "/health", "", o).want(c.status)
				if strings.Contains(string(a.body), "CANARY") {
					t.Errorf("%s", a.body)
				}
				if c.status != 200 {
					a.problem(http.StatusServiceUnavailable, "store-unavailable")
					continue
				}
				if a.text("status") != c.word || (a.get("records") != nil) != (who == "owner") || (a.get("detail") != nil) != (who != "nobody" && c.word != "ok") {
					t.Errorf("%s: %s", who, a.body)
				}
			}
		})
	}
}

func TestCheck(t *testing.T) {
	k := newKit(t)
	id, _, _, _ := k.proxy("acme", "p")
	k.fake.report = func(r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != "POST" || r.URL.String() != "/v1/charges?limit=3" || r.Header.Get("X-Env") != "prod" || string(body) != `{"amount":1}` {
			t.Errorf("%s %s %v %s %v", r.Method, r.URL, r.Header, body, err)
		}
	}
	const body = `{"method":"POST","path":"/v1/charges","query":{"limit":"3"},"headers":{"X-Env":"prod","Authorization":"CANARY-of-the-caller"},"body":{"amount":1}}`
	a := k.call("POST", "/clients/acme/proxies/"+id+"/check", body).want(http.StatusOK)
	if a.text("decision") != "proxy-access-denied" || a.get("status") != 403.0 || a.text("credential") != "agent" || a.text("rules.0.result") != "denies" {
		t.Errorf("%s", a.body)
	}
	if strings.Contains(string(a.body)+k.log.String(), "CANARY") {
		t.Error("the caller's credential is shown")
	}
	k.call("POST", "/clients/globex/proxies/"+id+"/check", body).problem(http.StatusNotFound, "not-found")
}

func TestRules(t *testing.T) {
	k := newKit(t)
	ids := map[string]string{}
	ids["proxies"], ids["credentials"], ids["targets"], _ = k.proxy("acme", "p")
	for plural, id := range ids {
		t.Run(plural, func(t *testing.T) {
			record := "/clients/acme/" + plural + "/" + id
			etag := k.call("GET", record, "").etag()
			made := k.call("POST", record+"/rules", `{"effect":"allow","methods":["GET"],"path":{"path":{"pattern":"^/v1/"}},"priority":5}`, header("If-Match", etag)).want(http.StatusCreated)
			rule := made.text("rules.0.ruleId")
			if made.Header.Get("Location") != "rules/"+rule || made.etag() == etag || made.etag() != k.call("GET", record, "").etag() {
				t.Errorf("%v", made.Header)
			}
			k.call("POST", record+"/rules", `{"effect":"allow"}`, header("If-Match", etag)).problem(http.StatusPreconditionFailed, "stale")
			one := record + "/rules/" + rule
			read := k.call("GET", one, "").want(http.StatusOK)
			k.call("GET", one, "", header("If-None-Match", read.etag())).want(http.StatusNotModified)
			back := k.call("PUT", one, string(lift(t, read, "rules")), header("If-Match", read.etag())).want(http.StatusOK)
			if back.text("rules.0.path.path.pattern") != "^/v1/" || back.text("rules.0.ruleId") != rule {
				t.Errorf("%s", back.body)
			}
			k.call("PUT", one, `{"effect":"allow"}`, header("If-Match", read.etag())).problem(http.StatusPreconditionFailed, "stale")
			changed := k.call("PUT", one, `{"effect":"deny"}`).want(http.StatusOK)
			if changed.text("rules.0.effect") != "deny" || changed.get("rules.0.path") != nil {
				t.Errorf("%s", changed.body)
			}
			if places := k.call("PUT", one, `{"effect":"deny","path":"(?=x)"}`).problem(http.StatusUnprocessableEntity, "invalid"); len(places) != 1 || !strings.HasPrefix(places[0], "/path") {
				t.Error(places)
			}
			k.call("DELETE", one, "", header("If-Match", `"1"`)).problem(http.StatusPreconditionFailed, "stale")
			k.call("DELETE", one, "").want(http.StatusOK)
			k.call("DELETE", one, "").problem(http.StatusNotFound, "not-found")
			k.call("PUT", one, `{"effect":"deny"}`).problem(http.StatusNotFound, "not-found")
			k.call("GET", one, "").problem(http.StatusNotFound, "not-found")
		})
	}
}

// TestRuleLists: sorted by priority, in pages.
func TestRuleLists(t *testing.T) {
	k := newKit(t)
	id, _ := k.make("acme", "targets", fmt.Sprintf(targetBody, "a"))
	rules := "/clients/acme/targets/" + id + "/rules"
	for _, priority := range []int{0, 900, 5, 5, 1000, 0, 5} {
		k.call("POST", rules, fmt.Sprintf(`{"effect":"deny","priority":%d}`, priority)).want(http.StatusCreated)
	}
	var priorities []int
	path := rules + "?limit=2"
	for pages := 0; path != "" && pages < 10; pages++ {
		a := k.call("GET", path, "").want(http.StatusOK)
		for _, r := range a.get("rules").([]any) {
			p, _ := r.(map[string]any)["priority"].(float64)
			priorities = append(priorities, int(p))
		}
		path = ""
		if cursor, _ := a.get("cursor").(string); cursor != "" {
			path = rules + "?limit=2&cursor=" + url.QueryEscape(cursor)
		}
	}
	if !slices.Equal(priorities, []int{1000, 900, 5, 5, 5, 0, 0}) {
		t.Error(priorities)
	}
}

func TestParallelRules(t *testing.T) {
	k := newKit(t)
	id, _ := k.make("acme", "targets", fmt.Sprintf(targetBody, "a"))
	rules := "/clients/acme/targets/" + id + "/rules"
	const count = 4 // as many as are tried again
	done := make(chan int, count)
	for range count {
		go func() { done <- k.call("POST", rules, `{"effect":"deny"}`).StatusCode }()
	}
	for range count {
		if status := <-done; status != http.StatusCreated {
			t.Error(status)
		}
	}
	if n := len(k.call("GET", rules, "").get("rules").([]any)); n != count {
		t.Errorf("%d rules", n)
	}
}
