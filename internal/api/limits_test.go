package api_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// send is call with a body that comes slowly, or is large.
func (k *kit) send(path string, body io.Reader, w http.ResponseWriter) {
	r := httptest.NewRequest("POST", "/rr"+path, body)
	r.Header.Set("Content-Type", "application/json")
	k.handler.ServeHTTP(w, r.WithContext(api.WithPrincipal(r.Context(), k.who)))
}

// TestFewLargeOperationsAtOnce: what takes much memory is not begun any number of times.
// The bodies of the first ones come when the test says so.
func TestFewLargeOperationsAtOnce(t *testing.T) {
	k := newKit(t)
	var serving sync.WaitGroup
	var bodies []*io.PipeWriter
	for range 2 {
		body, write := io.Pipe()
		bodies = append(bodies, write)
		serving.Go(func() { k.send("/store/import", body, httptest.NewRecorder()) })
		if _, err := write.Write([]byte("{")); err != nil { // it is being read
			t.Fatal(err)
		}
	}
	for path, body := range map[string]string{"/store/import": importBody(nil, ""), "/store/export": fmt.Sprintf(`{"passphrase":%q}`, words)} {
		a := k.call("POST", path, body)
		a.problem(http.StatusConflict, "conflict")
		if after := a.Header.Get("Retry-After"); after != "5" {
			t.Errorf("%s: Retry-After %q", path, after)
		}
	}
	k.call("GET", "/clients", "").want(http.StatusOK) // what is small goes on
	for _, write := range bodies {
		_ = write.Close()
	}
	serving.Wait()
	k.call("POST", "/store/export", fmt.Sprintf(`{"passphrase":%q}`, words)).want(http.StatusOK)
}

// endless is a body without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return copy(b, strings.Repeat(" ", len(b))), nil }

func TestAnImportIsBounded(t *testing.T) {
	k := newKit(t)
	w := httptest.NewRecorder()
	k.send("/store/import", endless{}, w)
	if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "67108864 bytes") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// deadlines notes until when a body may come.
type deadlines struct {
	*httptest.ResponseRecorder
	at []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.at = append(d.at, at)
	return nil
}

func TestABodyHasAMinuteToArrive(t *testing.T) {
	k := newKit(t)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	before := time.Now()
	k.send("/clients/acme/targets", strings.NewReader(fmt.Sprintf(targetBody, "a")), w)
	if w.Code != http.StatusCreated || len(w.at) != 2 || !w.at[1].IsZero() {
		t.Fatalf("%d, deadlines %v", w.Code, w.at)
	}
	if in := w.at[0].Sub(before); in < time.Minute || in > time.Minute+10*time.Second {
		t.Errorf("it may arrive within %v", in)
	}
}

// TestAKeptAnswerIsNotLarge: a proxy whose rules have more than a mebibyte is made, but not
// with an Idempotency-Key.
func TestAKeptAnswerIsNotLarge(t *testing.T) {
	k := newKit(t)
	_, caller, target, vendor := k.proxy("acme", "p")
	rules := make([]string, 1000)
	for i := range rules {
		rules[i] = fmt.Sprintf(`{"effect":"deny","path":"^/%d","notes":%q}`, i, strings.Repeat("n", 900))
	}
	body := fmt.Sprintf(`{"proxyName":"q","proxyProxyCredentialId":%q,"proxyTargetId":%q,"proxyTargetCredentialId":%q,"proxyRules":[%s]}`,
		caller, target, vendor, strings.Join(rules, ","))
	k.call("POST", "/clients/acme/proxies", body, key("k")).problem(http.StatusRequestEntityTooLarge, "too-large")
	k.call("POST", "/clients/acme/proxies", body).want(http.StatusCreated)
}

func TestAConflictNamesAFewRecords(t *testing.T) {
	k := newKit(t)
	for i := range 25 {
		k.call("POST", "/clients/acme/targets", fmt.Sprintf(targetBody, fmt.Sprint(i))).want(http.StatusCreated)
	}
	k.fill()
	archive := k.call("POST", "/store/export", fmt.Sprintf(`{"passphrase":%q}`, words)).want(http.StatusOK).body
	refused := k.call("POST", "/store/import", importBody(archive, ""))
	refused.problem(http.StatusConflict, "conflict")
	if n := len(refused.get("users").([]any)); n != 20 {
		t.Errorf("%d records are named", n)
	}
}

// longLog is a catalogue with a long audit log.
type longLog struct{ *fake }

func (longLog) Audit(_ context.Context, after uint64) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for seq := after + 1; yield(audit.Entry{Seq: seq, Actor: audit.Actor{Name: "bob"}}, nil); seq++ {
		}
	}
}

// TestAPageOfTheAuditLogLooksAtSoMany: with a filter that nothing fits the page ends, and
// says where to go on.
func TestAPageOfTheAuditLogLooksAtSoMany(t *testing.T) {
	k := newKit(t)
	k.handler = api.New(longLog{k.fake}, api.Options{Prefix: "/rr", Now: k.clock.Now})
	a := k.call("GET", "/audit?actor=nobody", "").want(http.StatusOK)
	if n := len(a.get("audit").([]any)); n != 0 || a.text("cursor") == "" {
		t.Errorf("%d entries, %s", n, a.body)
	}
	b := k.call("GET", "/audit?actor=bob&limit=1000", "").want(http.StatusOK)
	if n := len(b.get("audit").([]any)); n != 1000 {
		t.Errorf("%d entries", n)
	}
}

// TestNothingIsLeftOfRequests checks that serving leaves no goroutine.
func TestNothingIsLeftOfRequests(t *testing.T) {
	rrtest.NoLeak(t)
	k := newKit(t)
	k.proxy("acme", "p")
	k.call("POST", "/store/export", fmt.Sprintf(`{"passphrase":%q}`, words)).want(http.StatusOK)
	k.call("GET", "/audit", "", header("Accept", "application/x-ndjson")).want(http.StatusOK)
}
