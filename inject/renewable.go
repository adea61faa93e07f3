package inject

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// caller is what a fetch may know of the verified caller. It is only read.
type caller struct {
	ID      string
	Claims  map[string]any
	Token   string    // the caller's own; it is secret
	Expires time.Time // of the caller's proof; no token for the caller is used for longer
}

// keepOnly lets go of all claims but these: a source may hold a caller for long.
func (c *caller) keepOnly(names []string) {
	kept := make(map[string]any, len(names))
	for _, name := range names {
		if v, ok := rule.Claim(c.Claims, name); ok {
			if text, isText := v.(string); isText {
				v = strings.Clone(text) // which is a part of the whole token's text
			}
			kept[name] = v // a name is tried as it is before it is taken for a path
		}
	}
	c.Claims = kept
}

// endOf is when what the caller proved itself with ends. A caller within the leeway is
// over already; two seconds are left then to make use of what is made.
func endOf(x *exchange.Exchange) time.Time {
	if x.Ends.IsZero() {
		return x.Expires
	}
	soonest := time.Now().Truncate(time.Second).Add(2 * time.Second)
	if x.Ends.Before(soonest) && soonest.Before(x.Expires) {
		return soonest
	}
	return x.Ends
}

// definition is what a kind of credential says of its tokens.
type definition struct {
	// kind is the kind of credential; label, the credential's name in metrics and on the
	// state page, is where the configuration has it unless it is given here.
	kind, label string
	// id is over everything that decides the token, the values of secrets included.
	// Definitions with the same id share their tokens, also across reloads.
	id [32]byte
	// timeout bounds a fetch and how long a request waits for it. Default: 5s.
	timeout time.Duration
	// local says that a token is made without a network.
	local bool
	// guest says that the token's endpoint is somebody else's than the operator's, whose
	// texts are only taken for secrets in logs if they look like such.
	guest bool
	// fetch obtains a token; c is nil without perCaller. See token.Fetch.
	fetch func(ctx context.Context, c *caller) (token.Token, error)
	// perCaller says whose token a request gets: everything that fetch takes of c has to
	// decide the key, c.Expires included. Nil: all callers have the same token.
	perCaller func(x *exchange.Exchange) (key [32]byte, c *caller, err error)
	// uses are the claims of the caller that fetch takes; no others are kept.
	uses []string
	// place is where the token goes. Default: the header Authorization.
	place Slot
	// format makes a token what stands there. Default: behind its type in Authorization,
	// as it is elsewhere.
	format func(token.Token) string
}

func (d *definition) complete(ctx caddy.Context) error {
	if d.place == (Slot{}) {
		d.place = Slot{InHeader, "Authorization"}
	}
	if err := d.place.Validate(); err != nil {
		return err
	}
	if d.place.In == InPath {
		return errors.New("a token goes into a header, query parameter or cookie")
	}
	switch {
	case d.format != nil:
	case d.place == Slot{InHeader, "Authorization"}:
		d.format = behindType
	default:
		d.format = func(t token.Token) string { return t.Value }
	}
	if d.label == "" {
		d.label = labelOf(host.Place(ctx))
	}
	return nil
}

// behindType is a token after its scheme (RFC 6750 section 2.1). Endpoints write bearer in
// any case, and N_A (RFC 8693 section 2.2.1) is no scheme.
func behindType(t token.Token) string {
	scheme := t.Type
	if !httpguts.ValidHeaderFieldName(scheme) || strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "N_A") {
		scheme = "Bearer"
	}
	return scheme + " " + t.Value
}

// labelOf names a credential by where it stands: a named one by its name, and that of a
// proxy as "proxy <name>", which is no name.
func labelOf(place string) string {
	place, _, _ = strings.Cut(place, ": ")
	if name, ok := strings.CutPrefix(place, "credential "); ok {
		return name
	}
	if strings.HasPrefix(place, "proxy ") {
		return place
	}
	return metrics.Inline
}

// renewable is what the kinds with tokens that end have in common: they hold it, and
// provision it with use.
type renewable struct {
	current atomic.Pointer[lease]

	mu    sync.Mutex
	ended bool
}

// use takes over a definition, in Provision or when a secret has changed. Tokens of the
// same definition go on being used; those of the one before are let go.
func (r *renewable) use(ctx caddy.Context, d definition) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil
	}
	old := r.current.Load()
	if old != nil && d.label == "" {
		d.label = old.label
	}
	if err := d.complete(ctx); err != nil {
		return err
	}
	next, err := newLease(d)
	if err != nil {
		return err
	}
	r.current.Store(next)
	if old == nil {
		return nil
	}
	if old.shared != next.shared && old.shared.inUse() {
		next.shared.prefetch() // so that nobody waits for it
	}
	return old.end()
}

var errNotProvisioned = errors.New("there is no token yet")

// Inject implements Injector. It waits for a token, at most the definition's timeout.
func (r *renewable) Inject(req *http.Request) error {
	l := r.current.Load()
	if l == nil {
		return errNotProvisioned
	}
	s, err := l.source(req.Context())
	if err != nil {
		return err
	}
	t, ok := s.Current()
	if !ok {
		if t, err = r.wait(req.Context(), l, s); err != nil {
			return err
		}
	}
	l.place.write(req, t.Value)
	return nil
}

// wait waits for a token of l's source s. If its secret changes meanwhile, that token is
// dropped and it waits for the next, in the time that is left.
func (r *renewable) wait(ctx context.Context, l *lease, s *token.Source) (token.Token, error) {
	ends := time.Now().Add(l.patience())
	for {
		t, err := s.Token(ctx)
		next := r.current.Load()
		if err == nil || next == l || ctx.Err() != nil {
			return t, err
		}
		l = next
		if s, err = l.source(ctx); err != nil {
			return t, err
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, ends)
		defer cancel()
	}
}

// Renew tells whether there is another token now than the one in req, which the upstream
// has refused. It waits for one like Inject.
func (r *renewable) Renew(req *http.Request) (bool, error) {
	l := r.current.Load()
	if l == nil {
		return false, errNotProvisioned
	}
	s, err := l.source(req.Context())
	if err != nil {
		return false, err
	}
	_, newer, err := s.Renew(req.Context(), read(req, l.place))
	switch {
	case err != nil:
		l.series.Retried(metrics.RetryFailed)
	case newer:
		l.series.Retried(metrics.RetryRenewed)
	default:
		l.series.Retried(metrics.RetryUnchanged)
	}
	return newer, err
}

// read returns what stands at a slot, "" if nothing.
func read(req *http.Request, s Slot) string {
	switch s.In {
	case InHeader:
		return req.Header.Get(s.Name)
	case InQuery:
		return req.URL.Query().Get(s.Name)
	case InCookie:
		for _, c := range req.CookiesNamed(s.Name) {
			return c.Value
		}
	}
	return ""
}

// Slots implements Slotted.
func (r *renewable) Slots() []Slot {
	if l := r.current.Load(); l != nil {
		return []Slot{l.place}
	}
	return []Slot{{InHeader, "Authorization"}}
}

// Cleanup lets the tokens go, unless another configuration uses them. Requests that are
// still under way go on using them.
func (r *renewable) Cleanup() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.current.Load()
	if r.ended || l == nil {
		r.ended = true
		return nil
	}
	r.ended = true
	return l.end()
}

// lease is one definition's share in tokens.
type lease struct {
	definition
	shared *sharedTokens
	series *metrics.Tokens
}

func newLease(d definition) (*lease, error) {
	shared, err := holdTokens(&d)
	if err != nil {
		return nil, err
	}
	l := &lease{definition: d, shared: shared, series: metrics.HoldTokens(d.label, d.kind)}
	shared.join(l)
	return l, nil
}

func (l *lease) end() error {
	l.shared.leave(l)
	metrics.ReleaseTokens(l.series)
	_, err := tokenPool.Delete(l.shared.key)
	return err
}

// patience is how long a request waits for a token.
func (l *lease) patience() time.Duration {
	if l.timeout > 0 {
		return l.timeout
	}
	return defaultFetchTimeout
}

// source holds the token for the request that ctx belongs to.
func (l *lease) source(ctx context.Context) (*token.Source, error) {
	if l.perCaller == nil {
		return l.shared.source, nil
	}
	x := exchange.From(ctx)
	if x == nil {
		return nil, errors.New("the token depends on the caller, and there is no verified one")
	}
	key, c, err := l.perCaller(x)
	if err != nil {
		return nil, fmt.Errorf("the token depends on the caller: %w", err)
	}
	if s := l.shared.callers.Get(key); s != nil {
		return s, nil
	}
	c.keepOnly(l.uses)
	return l.shared.callers.Add(key, l.shared.config(c)), nil
}
