package verify

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/internal/redact"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Spec is the caller's side of a proxy, or of an inline rr_verify.
type Spec struct {
	// What callers prove themselves with, tried in order; the first that recognises the
	// caller wins. Each is a verifier, {"kind": "key", …}, or a reference to a named
	// credential, {"kind": "credential", "name": "…"}. Required; in rr_verify unless it
	// names a proxy or is a gateway.
	AcceptRaw []json.RawMessage `json:"accept,omitempty" caddy:"namespace=rr.verifiers inline_key=kind"`
	// What must hold too, each from a carrier of its own, such as a user's token beside
	// the integration's key. Its claims join the caller's under "also.".
	AlsoRaw []json.RawMessage `json:"also,omitempty" caddy:"namespace=rr.verifiers inline_key=kind"`

	// The rules of the proxy.
	rule.Scope

	// "keep" lets %2F through inside path segments; rules then judge the escaped path.
	// Default: paths with encoded slashes are refused.
	EncodedSlash string `json:"encoded_slash,omitempty"`
	// The URL by which OAuth clients know the proxy, its resource identifier (RFC 9728),
	// in the metadata that leads them to the issuer. "off": there is no metadata.
	// Default: the URL that they asked, as far as it leads to the proxy.
	Resource string `json:"resource,omitempty"`
	// The largest body, in bytes, that body rules look into. Larger ones cannot be
	// judged and are refused. Default: 1 MiB.
	MaxBody int64 `json:"max_body,omitempty"`
}

// Settings are the rr app's options that concern callers.
type Settings struct {
	Answers  *exchange.Answers
	Throttle Throttle
	// Egress are addresses that may be reached in any case to fetch keys.
	Egress []netip.Prefix
}

// Host is the rr app, as far as the caller's side needs it.
type Host interface {
	Credentials
	// VerifyGate returns a proxy's gate.
	VerifyGate(proxy string) (*Gate, error)
	// VerifyGates returns the gates of all proxies by name.
	VerifyGates() map[string]*Gate
	// Directory returns the proxies that come and go, nil if there are none.
	Directory() Directory
	// VerifySettings returns the options.
	VerifySettings() Settings
	// StartWith has the loader of an inline handler started with the app.
	StartWith(l *host.Loader)
}

// accepted is one entry of a gate's accept list.
type accepted struct {
	label    string // the credential's name, or the kind
	verifier Verifier
	set      *rule.Set
	expires  time.Time
	named    bool // label is a credential's name
	used     func(time.Time)
	print    digest       // fingerprint of a verifier that is not opaque
	alone    [1]*accepted // itself, as the list of what recognised a caller
}

// NewGate compiles a spec. name is the proxy's, empty for an inline handler; place says
// in errors where the spec stands.
func NewGate(l *host.Loader, name, place string, s *Spec, h Credentials) (*Gate, error) {
	if len(s.AcceptRaw) == 0 {
		return nil, fmt.Errorf("%s: nothing is accepted; add `accept <kind> …`, or `accept none` for anonymous callers", place)
	}
	g := &Gate{name: name, holder: name, now: time.Now, maxBody: s.MaxBody}
	switch s.EncodedSlash {
	case "":
	case "keep":
		g.keepSlash = true
	default:
		return nil, fmt.Errorf("%s: encoded_slash can only be keep, not %q", place, s.EncodedSlash)
	}
	if s.MaxBody < 0 {
		return nil, fmt.Errorf("%s: max_body is negative", place)
	}
	var err error
	if g.set, err = s.Compile(l.RuleEnv()); err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	g.main.entries, err = load(l, place+": accept", s.AcceptRaw, h)
	if err != nil {
		return nil, err
	}
	for i := range s.AlsoRaw {
		var also group
		if also.entries, err = load(l, place+": also", s.AlsoRaw[i:i+1], h); err != nil {
			return nil, err
		}
		g.also = append(g.also, &also)
	}
	if err := g.finish(place); err != nil {
		return nil, err
	}
	if err := g.describe(s.Resource); err != nil {
		return nil, fmt.Errorf("%s: resource: %w", place, err)
	}
	for _, gr := range g.groups() {
		l.Hide(redact.Header, gr.slots.names(InHeader)...)
		l.Hide(redact.Header, gr.slots.companions...)
		l.Hide(redact.Query, gr.slots.names(InQuery)...)
		l.Hide(redact.Cookie, gr.slots.names(InCookie)...)
	}
	g.label = metrics.Inline
	if name != "" {
		g.label = name
	}
	return g, nil
}

// describe takes the resource identifier for the metadata.
func (g *Gate) describe(id string) error {
	switch {
	case id == "off":
		g.resource = nil
	case id == "":
	case g.resource == nil:
		return errors.New("nothing that is accepted has an issuer that clients could be led to")
	default:
		u, err := url.Parse(id)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Fragment != "" || u.User != nil {
			return fmt.Errorf("%q is not a URL without fragment, such as https://gateway.example.com/api", id)
		}
		g.resource.Resource = id
	}
	return nil
}

// finish builds the groups' indexes and slots.
func (g *Gate) finish(place string) error {
	if err := g.main.finish(place); err != nil {
		return err
	}
	groups := []*group{&g.main}
	for _, also := range g.also {
		if err := also.finish(place); err != nil {
			return err
		}
		for _, other := range groups {
			if where, shared := also.slots.shares(&other.slots); shared {
				return fmt.Errorf("%s: also needs a carrier of its own, but %s is read by another verifier of the proxy; say `from header <name>`", place, where)
			}
		}
		groups = append(groups, also)
	}
	g.challenges()
	g.resource = resourceOf(g.main.entries)
	return nil
}

// load loads a list of verifiers and references.
func load(l *host.Loader, place string, raws []json.RawMessage, h Credentials) (list []*accepted, err error) {
	defer func() {
		for _, a := range list {
			a.alone[0] = a
		}
	}()
	for _, raw := range raws {
		ref, isRef, err := host.Reference(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		if !isRef {
			v, kind, err := loadVerifier(l, place, raw)
			if err != nil {
				return nil, err
			}
			list = append(list, &accepted{label: kind, verifier: v, print: sha256.Sum256(raw)})
			continue
		}
		if h == nil {
			return nil, fmt.Errorf("%s: credential %q is not known: there is no rr app with credentials in the configuration", place, ref)
		}
		c, err := h.ProxyCredential(ref)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		list = append(list, c.entries()...)
	}
	return list, nil
}

// AppHost returns the rr app for a handler, nil if the configuration has none.
func AppHost(ctx caddy.Context) (Host, error) {
	app, err := ctx.AppIfConfigured("rr")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h, ok := app.(Host)
	if !ok {
		return nil, fmt.Errorf("the app rr is a %T, which is not rr's", app)
	}
	return h, nil
}
