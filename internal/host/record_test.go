package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/internal/redact"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(guest)) }

// guest is a kind that tells what it sees of its surroundings.
type guest struct {
	Name    string        `json:"name,omitempty"`
	Secret  secret.String `json:"secret,omitempty"`
	Fails   bool          `json:"fails,omitempty"`
	ctx     caddy.Context
	value   string
	started bool
	cleaned int
}

var made []*guest

func (*guest) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "rr.tests.guest", New: func() caddy.Module {
		g := new(guest)
		made = append(made, g)
		return g
	}}
}

func (g *guest) Provision(ctx caddy.Context) error {
	g.ctx = ctx
	if g.Secret != "" {
		v, err := g.Secret.Resolve(ctx)
		if err != nil {
			return err
		}
		g.value = v.Get()
	}
	if meanwhile != nil {
		meanwhile()
	}
	OnStart(ctx, func() { g.started = true })
	if g.Fails {
		return errors.New("it fails")
	}
	return nil
}

func (g *guest) Cleanup() error {
	g.cleaned++
	cleanedUp = append(cleanedUp, g.Name)
	return nil
}

var (
	meanwhile func() // happens while a guest is provisioned
	cleanedUp []string
)

func newContext(t testing.TB) caddy.Context {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return ctx
}

func load(t testing.TB, l *Loader, spec string) *guest {
	t.Helper()
	g, kind, err := l.Guest("credential x: accept", "rr.tests", json.RawMessage(spec))
	if err != nil || kind != "guest" {
		t.Fatalf("%q %v", kind, err)
	}
	return g.(*guest)
}

type noTokens struct{ Blocklist }

// TestRecordsAreNotExpanded: whatever is around a record's context, its texts are values.
func TestRecordsAreNotExpanded(t *testing.T) {
	t.Setenv("RR_HOST_TEST", "from-the-environment")
	around := newContext(t)
	expanding := NewLoader(around, zap.NewNop()).Context()
	if v, err := secret.String("{env.RR_HOST_TEST}").Resolve(expanding); err != nil || v.Get() != "from-the-environment" {
		t.Fatalf("a configuration's secret: %v", err)
	}
	for name, ctx := range map[string]caddy.Context{"the app's": around, "an expanding one": expanding} {
		l := NewRecordLoader(ctx, zap.NewNop(), RecordOptions{})
		defer l.Close()
		for _, text := range []string{"{env.RR_HOST_TEST}", "{file./etc/hostname}", "x{env.RR_HOST_TEST}"} {
			if g := load(t, l, fmt.Sprintf(`{"kind":"guest","secret":%q}`, text)); g.value != text {
				t.Errorf("in %s context %s became %q", name, text, g.value)
			}
			if v, err := secret.Template(text).Resolve(l.Context()); err != nil || v.Get() != text {
				t.Errorf("in %s context the template %s: %v", name, text, err)
			}
		}
	}
	l := NewRecordLoader(around, zap.NewNop(), RecordOptions{})
	defer l.Close()
	_, err := rule.Scope{Rules: []rule.Rule{{Effect: rule.Deny, Expression: `{env.RR_HOST_TEST} == "x"`}}}.Compile(l.RuleEnv())
	if err == nil || !strings.Contains(err.Error(), "rules/0/expression") || !strings.Contains(err.Error(), "have no expressions") {
		t.Errorf("an expression: %v", err)
	}
	l.OnChange(func() {}) // and nothing to watch
	l.Watch()
}

func TestWhatGuestsSeeOfTheirHost(t *testing.T) {
	ctx := newContext(t)
	opened := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	configured := NewLoader(ctx, zap.NewNop())
	configured.SetBlocklist(noTokens{})
	configured.AllowEgress(opened)
	for name, tt := range map[string]struct {
		ctx       context.Context
		untrusted bool
		egress    bool
		blocklist bool
		grants    string
	}{
		"no loader":       {ctx: ctx},
		"a configuration": {ctx: configured.Context(), egress: true, blocklist: true},
		"a record": {ctx: NewRecordLoader(ctx, zap.NewNop(), RecordOptions{
			ID: "id-1", Egress: opened, Blocklist: noTokens{}, Keeper: func(id, part string) oauth.Keeper {
				return oauth.Memory(&oauth.Grant{Refresh: id + "/" + part})
			},
		}).Context(), untrusted: true, egress: true, blocklist: true, grants: "id-1/p"},
		"a trial":             {ctx: NewRecordLoader(ctx, zap.NewNop(), RecordOptions{Keeper: func(string, string) oauth.Keeper { return nil }}).Context(), untrusted: true},
		"without a keeper":    {ctx: NewRecordLoader(ctx, zap.NewNop(), RecordOptions{ID: "id-1"}).Context(), untrusted: true},
		"a record in another": {ctx: NewRecordLoader(configured.Context(), zap.NewNop(), RecordOptions{}).Context(), untrusted: true},
	} {
		if got := Untrusted(tt.ctx); got != tt.untrusted {
			t.Errorf("%s: untrusted is %v", name, got)
		}
		if got := len(Egress(tt.ctx)) > 0; got != tt.egress {
			t.Errorf("%s: egress is %v", name, Egress(tt.ctx))
		}
		if got := BlocklistOf(tt.ctx) != nil; got != tt.blocklist {
			t.Errorf("%s: the blocklist is there: %v", name, got)
		}
		id, keeper := GrantsOf(tt.ctx)
		if tt.grants == "" {
			if id != "" || keeper != nil {
				t.Errorf("%s: it has grants of %q", name, id)
			}
			continue
		}
		if g, err := keeper("p").Load(t.Context()); err != nil || id != "id-1" || g.Refresh != tt.grants {
			t.Errorf("%s: %q %v", name, id, err)
		}
	}
}

func TestRecordsEnd(t *testing.T) {
	around, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	l := NewRecordLoader(around, zap.NewNop(), RecordOptions{})
	cleanedUp, made = nil, nil
	first, second := load(t, l, `{"kind":"guest","name":"first"}`), load(t, l, `{"kind":"guest","name":"second"}`)
	if _, _, err := l.Guest("p", "rr.tests", json.RawMessage(`{"kind":"guest","name":"bad","fails":true}`)); err == nil || err.Error() != "p guest: it fails" {
		t.Errorf("%v", err)
	}
	if _, _, err := l.Guest("p", "rr.tests", json.RawMessage(`{"kind":"guest","unknown":1}`)); err == nil || !strings.Contains(err.Error(), `unknown field "unknown"`) {
		t.Errorf("%v", err)
	}
	// a module that may load others has a context of its own
	if m, err := l.loadForRecord("http.handlers.static_response", json.RawMessage(`{}`)); err != nil || m == nil {
		t.Errorf("a foreign module: %v", err)
	}
	nested := *l.record.nested
	l.Start()
	if !first.started || Untrusted(nested) != true {
		t.Error("the guests are not started")
	}
	l.Close()
	l.Close()
	if want := []string{"bad", "second", "first"}; !slices.Equal(cleanedUp, want) {
		t.Errorf("cleaned up: %q, want %q", cleanedUp, want)
	}
	if second.ctx.Err() == nil || nested.Err() == nil {
		t.Error("the guests' contexts go on")
	}
	if _, _, err := l.Guest("p", "rr.tests", json.RawMessage(`{"kind":"guest"}`)); !errors.Is(err, errEnded) || made[len(made)-1].cleaned != 1 {
		t.Errorf("a guest after the end: %v", err)
	}
	if _, err := l.loadForRecord("http.handlers.static_response", json.RawMessage(`{}`)); !errors.Is(err, errEnded) {
		t.Errorf("a foreign module after the end: %v", err)
	}

	// the configuration ends while a request has a guest loaded
	l = NewRecordLoader(around, zap.NewNop(), RecordOptions{})
	meanwhile = l.Close
	defer func() { meanwhile = nil }()
	if _, _, err := l.Guest("p", "rr.tests", json.RawMessage(`{"kind":"guest"}`)); !errors.Is(err, errEnded) || made[len(made)-1].cleaned != 1 {
		t.Errorf("a guest that comes too late: %v", err)
	}
	meanwhile = nil

	l = NewRecordLoader(around, zap.NewNop(), RecordOptions{})
	g := load(t, l, `{"kind":"guest"}`)
	cancel()
	l.Close() // which waits for the end that cancel has begun
	if g.cleaned != 1 {
		t.Errorf("cleaned up %d times with the context around", g.cleaned)
	}
	l = NewRecordLoader(around, zap.NewNop(), RecordOptions{}) // too late
	l.Close()

	// a configuration's loader has no Close
	configured := NewLoader(newContext(t), zap.NewNop())
	configured.Close()
	if configured.Context().Err() != nil || configured.Untrusted() {
		t.Error("a configuration is closed")
	}
}

// TestRecordSecretsAreHidden: by their values, but not so that a log is no JSON any more.
func TestRecordSecretsAreHidden(t *testing.T) {
	l := NewRecordLoader(newContext(t), zap.NewNop(), RecordOptions{})
	defer l.Close()
	line := func(text string) string { return string(redact.Default().Line([]byte(text))) }
	for _, value := range []string{"sk-record-0123456789abcdef", `pass-"word\-0f4a8e2b7c-of-a-record`, "{env.RECORD_SECRET_0f4a8e2b}"} {
		load(t, l, fmt.Sprintf(`{"kind":"guest","secret":%q}`, value))
		log, err := json.Marshal(map[string]string{"x": "a " + value + " b"})
		if err != nil {
			t.Fatal(err)
		}
		got := line(string(log))
		for part := range strings.SplitSeq(value, `"`) {
			if len(part) >= 8 && strings.Contains(got, part) {
				t.Errorf("%s is in the log: %s", value, got)
			}
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("with %s the log is no JSON: %s", value, got)
		}
	}
	for _, value := range []string{"client_ip", "/api/declared/v1", "proxy-access-denied", "gateway-7.eu-west-1.example.com", "2026-11-26T22:54:00Z", "a phrase of words 17"} {
		load(t, l, fmt.Sprintf(`{"kind":"guest","secret":%q}`, value))
		if log := `{"x":"` + value + `"}`; line(log) != log {
			t.Errorf("whoever makes records decides that the log says %s", line(log))
		}
	}
	entry := `{"level":"info","ts":1700000000.123,"request":{"headers":{},"tls":null},"size":12345678,"ok":false}`
	for _, value := range []string{`","ts":1700000000.123,"`, `":{"headers":{},"`, `:{},`, `":null},"`, `:12345678,`, `:12345678`, `12345678`, `},"size":`, `":false}`, `:false}}}}`} {
		load(t, l, fmt.Sprintf(`{"kind":"guest","secret":%q}`, value))
		if got := line(entry); !json.Valid([]byte(got)) {
			t.Errorf("with %s the log is no JSON: %s", value, got)
		}
	}
}

func TestThatThereIsNoRoomForSecretsIsToldOnce(t *testing.T) {
	full = sync.Once{}
	core, logs := observer.New(zapcore.WarnLevel)
	for n, many := range []int{maxOfRecords, 3, 3} {
		l := NewRecordLoader(newContext(t), zap.New(core), RecordOptions{})
		defer l.Close()
		for i := range many {
			l.hideOfRecord(fmt.Sprintf("a-secret-of-many-%d-a%07d", n, i))
		}
		l.hideOfRecord("1234567890123456")
	}
	if n := logs.FilterMessageSnippet("too many secrets").Len(); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

func TestWhatLeavesIsHiddenForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := departed{limit: 5}
		var gone []string
		release := func(name string) func() { return func() { gone = append(gone, name) } }
		d.add(nil)
		d.add([]func(){release("a"), release("b")})
		time.Sleep(hideAfter / 2)
		d.add([]func(){release("c")})
		time.Sleep(hideAfter/2 - time.Second)
		want := func(names string) {
			t.Helper()
			synctest.Wait()
			d.mu.Lock()
			defer d.mu.Unlock()
			if got := strings.Join(gone, ""); got != names {
				t.Errorf("%q are released, want %q", got, names)
			}
		}
		want("")
		time.Sleep(2 * time.Second)
		want("ab")
		d.add([]func(){release("d"), release("e"), release("f"), release("g"), release("h")}) // too many
		want("abc")
		d.add([]func(){release("i"), release("j")})
		want("abcde")
		time.Sleep(hideAfter)
		want("abcdefghij")
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.armed || len(d.queue) != 0 {
			t.Error("something goes on")
		}
	})
}

// BenchmarkRecordLoader is what a record costs beside its guest.
func BenchmarkRecordLoader(b *testing.B) {
	ctx := newContext(b)
	raw := json.RawMessage(`{"kind":"guest"}`)
	b.ReportAllocs()
	for b.Loop() {
		l := NewRecordLoader(ctx, zap.NewNop(), RecordOptions{ID: "x"})
		if _, _, err := l.Guest("credential x: accept", "rr.tests", raw); err != nil {
			b.Fatal(err)
		}
		l.Close()
		made, cleanedUp = nil, nil
	}
}

// TestWhatConfigurationsLeaveIsBounded ends configurations faster than their names are
// forgotten.
func TestWhatConfigurationsLeaveIsBounded(t *testing.T) {
	leftOfConfigs.mu.Lock()
	leftOfConfigs.queue, leftOfConfigs.limit = nil, 5
	leftOfConfigs.mu.Unlock()
	defer func() {
		leftOfConfigs.mu.Lock()
		defer leftOfConfigs.mu.Unlock()
		leftOfConfigs.drop(len(leftOfConfigs.queue))
		leftOfConfigs.limit = maxLeftOfConfigs
	}()
	for i := range 4 {
		l := NewLoader(newContext(t), zap.NewNop())
		l.Hide(redact.Header, fmt.Sprintf("X-Left-%d", i))
		l.Hide(redact.Query, fmt.Sprintf("left_%d", i))
		l.end()
	}
	for i, hidden := range []bool{false, false, true, true} {
		if redact.Default().Field(fmt.Sprintf("X-Left-%d", i)) != hidden {
			t.Errorf("the header of configuration %d is hidden: %v", i, !hidden)
		}
	}
	if n := len(leftOfConfigs.queue); n != 5 {
		t.Errorf("%d names are kept", n)
	}
}
