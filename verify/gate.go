package verify

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Gate is the compiled caller's side of a proxy. It is safe for concurrent use.
type Gate struct {
	name            string
	holder          string          // tells it from other gates over reloads
	watch           exchange.Holder // who knows whether callers still have access; nil: the gate
	label           string          // in metrics
	main            group
	also            []*group
	set             *rule.Set
	keepSlash       bool
	maxBody         int64
	inactive        bool
	plain, rejected []string // challenges without and with a refused credential
	now             func() time.Time
	series          *metrics.Proxy
	resource        *resource // nil if no issuer can be named
	incomplete      string    // what the proxy lacks, empty for nothing
	onward          any       // the other side's gate
}

// Open puts the gate in force: its series count and its callers' streams are watched.
// Each Open needs one Close.
func (g *Gate) Open() {
	g.series = metrics.Hold(g.label)
	exchange.Streams.Enter(g)
}

// Close takes the gate out of force. Requests that are still inside go on counting.
func (g *Gate) Close() {
	exchange.Streams.Leave(g)
	metrics.Release(g.series)
}

// SetInactive has the gate answer 503 to callers that it recognises.
func (g *Gate) SetInactive() { g.inactive = true }

// SetIncomplete has the gate answer 503 to callers that it recognises: the proxy lacks
// something, which the log names.
func (g *Gate) SetIncomplete(what string) { g.incomplete = what }

// SetOnward makes the other side's gate of the proxy known, for the rr_inject of a gateway.
func (g *Gate) SetOnward(onward any) { g.onward = onward }

// Hold has the gate count as holder, in the series of a proxy that label names, without
// being watched itself: for gates that replace each other while the holder stays.
func (g *Gate) Hold(holder exchange.Holder, series *metrics.Proxy) {
	g.watch, g.series = holder, series
}

// Name implements exchange.Holder.
func (g *Gate) Name() string { return g.holder }

// holding is who knows whether the gate's callers still have access.
func (g *Gate) holding() exchange.Holder {
	if g.watch != nil {
		return g.watch
	}
	return g
}

// standby refuses callers that are recognised, if the proxy cannot serve them now.
func (g *Gate) standby() *exchange.Refusal {
	switch {
	case g.inactive:
		return exchange.Refuse(http.StatusServiceUnavailable, exchange.CodeInactive, errors.New("the proxy is not active"))
	case g.incomplete != "":
		return exchange.Refuse(http.StatusServiceUnavailable, exchange.CodeIncomplete, errors.New(g.incomplete))
	}
	return nil
}

// Holds implements exchange.Holder.
func (g *Gate) Holds(proof exchange.Proof) bool {
	now := g.now()
	if g.inactive || g.incomplete != "" || len(proof.Also) != len(g.also) || !g.main.holds(proof.Main, now) {
		return false
	}
	for i, also := range g.also {
		if !also.holds(proof.Also[i], now) {
			return false
		}
	}
	return true
}

func (a *accepted) expired(now time.Time) bool {
	return !a.expires.IsZero() && !now.Before(a.expires)
}

// fingerprint tells the credential from others across reloads and changes of its secret.
func (a *accepted) fingerprint() digest {
	if f, ok := a.verifier.(Fingerprinting); ok {
		return verdictKey(a.label, f.Fingerprint())
	}
	return a.print
}

// Refresh takes over secrets that have changed. A change that would make two credentials
// alike is an error, and what was accepted before stays.
func (g *Gate) Refresh() error {
	for _, gr := range g.groups() {
		if err := gr.reindex("proxy " + g.name); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gate) groups() []*group { return append([]*group{&g.main}, g.also...) }

// carriers are the headers that callers' credentials ride in, and whether any rides in
// the query.
func (g *Gate) carriers() (headers []string, query bool) {
	for _, gr := range g.groups() {
		headers = append(headers, gr.slots.names(InHeader)...)
		query = query || gr.slots.query
	}
	return headers, query
}

// challenges collects one challenge per scheme.
func (g *Gate) challenges() {
	g.plain, g.rejected = challengesOf(g.main.entries, false), challengesOf(g.main.entries, true)
}

func challengesOf(entries []*accepted, rejected bool) []string {
	var list []string
	for _, a := range entries {
		if c, ok := a.verifier.(Challenging); ok {
			if text := c.Challenge(rejected); text != "" && !slices.Contains(list, text) {
				list = append(list, text)
			}
		}
	}
	return list
}

// verify recognises the caller and whatever must hold too, and returns the credentials
// that did. It fills in x.
func (g *Gate) verify(r *http.Request, x *exchange.Exchange, now time.Time, adm admission) ([]*accepted, error) {
	c, err := g.main.recognise(r, adm, now)
	if err != nil {
		return nil, err
	}
	claims := c.identity.claims()
	entries, expires := c.entry.alone[:], c.expires()
	var more []exchange.Evidence
	for i, also := range g.also {
		extra, err := also.recognise(r, adm, now)
		if errors.Is(err, ErrAbsent) {
			return nil, fmt.Errorf("%w: also: %w", ErrRejected, err)
		}
		if err != nil {
			return nil, fmt.Errorf("also: %w", err)
		}
		claims, more = join(claims, extra, i == 0), append(more, extra.evidence())
		entries = append(slices.Clip(entries), extra.entry)
		if e := extra.expires(); !e.IsZero() && (expires.IsZero() || e.Before(expires)) {
			expires = e
		}
	}
	if used := c.entry.used; used != nil {
		used(now)
	}
	x.Credential, x.ID, x.Claims, x.Token = c.entry.label, c.identity.ID, claims, c.identity.Token
	x.Ends = expires
	if t := c.identity.token; t != nil && (expires.IsZero() || t.ends.Before(expires)) {
		x.Ends = t.ends
	}
	x.Named, x.OwnID = c.entry.named, x.ID != ""
	x.Proof, x.Expires = exchange.Proof{Main: c.evidence(), Also: more}, expires
	if x.ID == "" {
		x.ID = c.entry.label
	}
	return entries, nil
}

// join adds the claims of what must hold too, under "also". Claims that the main
// credential has under that name are not the other's: first says that what is there is
// the main credential's.
func join(claims rule.Claims, extra caller, first bool) rule.Claims {
	joined := maps.Clone(rule.AllOf(claims))
	if joined == nil {
		joined = make(map[string]any)
	}
	under := make(map[string]any)
	if first {
		maps.DeleteFunc(joined, func(name string, _ any) bool { return name == "also" || strings.HasPrefix(name, "also.") })
	} else if old, ok := joined["also"].(map[string]any); ok {
		maps.Copy(under, old)
	}
	maps.Copy(under, rule.AllOf(extra.identity.claims()))
	if extra.identity.ID != "" {
		under["id"] = extra.identity.ID
	}
	joined["also"] = under
	return rule.Decoded(joined)
}

// strip removes every carrier from the request.
func (g *Gate) strip(r *http.Request, lookAlikes bool) {
	g.main.slots.strip(r, lookAlikes)
	for _, also := range g.also {
		also.slots.strip(r, lookAlikes)
	}
}
