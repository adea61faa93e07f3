// Package host is what both gates need of Caddy: loading guest modules, handing them the
// secrets of the configuration, compiling rule expressions, and refusing a request. It
// is the one package below the gates that imports Caddy.
package host

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/redact"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// Loader loads the guests of one configuration and expands their secrets, or those of one
// record, whose texts are values.
type Loader struct {
	ctx     caddy.Context
	log     *zap.Logger
	secrets *secret.Expander // nil for a record
	record  *record          // nil for a configuration
	place   string

	egress    []netip.Prefix
	blocklist Blocklist

	mu       sync.Mutex
	ended    bool
	releases []func()
	starts   []func()
	unheld   bool
}

// NewLoader returns a loader for the module that ctx was made for. Close is not needed:
// what it starts ends with ctx.
func NewLoader(ctx caddy.Context, log *zap.Logger) *Loader {
	l := &Loader{log: log}
	l.secrets = &secret.Expander{Literal: l.literal, Report: l.report, Resolved: l.hideSecret}
	ctx = ctx.WithValue(l.secrets.Key())
	l.ctx = ctx.WithValue(loaderKey{}, l)
	// requests of the old configuration may go on, and be logged, for long
	context.AfterFunc(ctx, l.end)
	return l
}

// hideAfter is for how long after its end a configuration's credentials are still kept
// out of logs.
const hideAfter = time.Hour

// Hide keeps what stands under these names out of logs that use the encoder rr.
func (l *Loader) Hide(kind redact.Kind, names ...string) {
	if len(names) > 0 {
		l.keep(redact.Default().Add(kind, names...))
	}
}

func (l *Loader) hideSecret(value string) {
	release, held := redact.Default().AddSecret(value)
	if held {
		l.keep(release)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.unheld && len(value) >= 8 {
		l.unheld = true
		l.log.Warn("there are too many secrets to look for each by its value in logs; they are hidden by the names of their headers, parameters and cookies only")
	}
}

func (l *Loader) keep(release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended { // a secret that has changed once more
		release()
		return
	}
	l.releases = append(l.releases, release)
}

// end lets the names and values go, later. What waits for that holds nothing else of the
// configuration.
func (l *Loader) end() { leftOfConfigs.add(l.close()) }

// close has the loader keep nothing any more, and returns what it has kept.
func (l *Loader) close() (releases []func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	releases, l.releases, l.ended = l.releases, nil, true
	return releases
}

// Context is the context in which guests' secrets are expanded.
func (l *Loader) Context() caddy.Context { return l.ctx }

// Guest loads the module namespace.<kind> from its {"kind": …} object. Errors begin
// with place, which says in the user's words where the object stands.
func (l *Loader) Guest(place, namespace string, raw json.RawMessage) (guest any, kind string, err error) {
	kind, rest, err := Split(raw)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", place, err)
	}
	id := namespace + "." + kind
	if _, err := caddy.GetModule(id); err != nil {
		return nil, kind, fmt.Errorf("%s: %w", place, unknown(lastLabel(namespace), kind, Kinds(namespace)))
	}
	l.place = place + " " + kind
	if l.record != nil {
		guest, err = l.loadForRecord(id, rest)
	} else {
		guest, err = l.ctx.LoadModuleByID(id, rest)
	}
	if err != nil {
		return nil, kind, fmt.Errorf("%s: %w", l.place, err)
	}
	return guest, kind, nil
}

// Secret resolves a secret that is no guest's; place says where it stands.
func (l *Loader) Secret(place string, s secret.String) (*secret.Value, error) {
	l.place = place
	return s.Resolve(l.ctx)
}

// CheckKind returns an error that lists the known kinds if the namespace has no such one.
func CheckKind(namespace, kind string) error {
	if _, err := caddy.GetModule(namespace + "." + kind); err != nil {
		return unknown(lastLabel(namespace), kind, Kinds(namespace))
	}
	return nil
}

// Kinds are the kinds that are compiled in, such as key and bearer for rr.verifiers.
func Kinds(namespace string) []string {
	var names []string
	for _, m := range caddy.GetModules(namespace) {
		names = append(names, strings.TrimPrefix(string(m.ID), namespace+"."))
	}
	return names
}

// lastLabel turns rr.verifiers into "verifier".
func lastLabel(namespace string) string {
	return strings.TrimSuffix(namespace[strings.LastIndexByte(namespace, '.')+1:], "s")
}

func (l *Loader) literal() {
	l.log.Warn("a secret is written in clear in the configuration, where /config/ and the autosaved file show it; write {env.NAME} or {file./absolute/path} instead",
		zap.String("where", l.place))
}

func (l *Loader) report(path string, err error) {
	if err != nil {
		l.log.Error("a secret file cannot be used; its last good value stays in use", zap.String("file", path), zap.Error(err))
		return
	}
	l.log.Info("a secret file can be used again", zap.String("file", path))
}

// OnChange has f called after secret files have changed. Records have none.
func (l *Loader) OnChange(f func()) {
	if l.secrets != nil {
		l.secrets.Changed = f
	}
}

// Watch follows the secret files of what was loaded until the configuration ends.
func (l *Loader) Watch() {
	if l.secrets != nil && l.secrets.Watching() {
		go l.secrets.Watch(l.ctx)
	}
}

// RuleEnv compiles the expressions of rules as Caddy's `expression` matcher does. Records
// have none: Caddy's expressions read the environment ({env.NAME}) and files.
func (l *Loader) RuleEnv() rule.Env {
	if l.record != nil {
		return rule.Env{Expression: noExpression}
	}
	return rule.Env{Expression: func(src string) (func(*http.Request) (bool, error), error) {
		m := &caddyhttp.MatchExpression{Expr: src}
		if err := m.Provision(l.ctx); err != nil {
			return nil, err
		}
		return m.MatchWithError, nil
	}}
}
