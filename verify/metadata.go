package verify

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(new(Metadata)) }

// Issuing is implemented by verifiers of what an authorization server issues, so that
// clients can be told where to get it (RFC 9728).
type Issuing interface {
	// AuthorizationServer returns the issuer's URL, empty if there is none to name, and
	// the scopes that are needed.
	AuthorizationServer() (issuer string, scopes []string)
}

// WellKnown is where clients look for the metadata of a protected resource (RFC 9728
// section 3).
const WellKnown = "/.well-known/oauth-protected-resource"

// resource is the metadata of a proxy, or of a gateway for all its proxies, so that it
// tells nobody which there are.
type resource struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported,omitempty"`
	Methods  []string `json:"bearer_methods_supported,omitempty"`
	Algs     []string `json:"dpop_signing_alg_values_supported,omitempty"`
	DPoP     bool     `json:"dpop_bound_access_tokens_required,omitempty"`
}

// resourceOf collects the metadata of verifiers; nil if no issuer can be named.
func resourceOf(entries []*accepted) *resource {
	m := &resource{}
	plain := false
	for _, a := range entries {
		i, ok := a.verifier.(Issuing)
		if !ok {
			continue
		}
		issuer, scopes := i.AuthorizationServer()
		if issuer == "" {
			continue
		}
		m.Servers, m.Scopes = union(m.Servers, []string{issuer}), union(m.Scopes, scopes)
		j, ok := a.verifier.(*JWTVerify)
		if plain = plain || !ok || !j.proofs.required; ok {
			m.Algs = union(m.Algs, strings.Fields(j.proofs.Algs()))
		}
		for _, c := range carriersOf(a.verifier) {
			if c.In == InHeader && c.Name == "Authorization" {
				m.Methods = []string{"header"}
			}
		}
	}
	if len(m.Servers) == 0 {
		return nil
	}
	m.DPoP = !plain
	return m
}

func carriersOf(v Verifier) []Carrier {
	if c, ok := v.(Carrying); ok {
		return c.Carriers()
	}
	return nil
}

// join adds another proxy's metadata.
func (m *resource) join(other *resource) *resource {
	switch {
	case other == nil:
		return m
	case m == nil:
		return &resource{Servers: other.Servers, Scopes: other.Scopes, Methods: other.Methods, Algs: other.Algs, DPoP: other.DPoP}
	}
	return &resource{
		Servers: union(slices.Clip(m.Servers), other.Servers), Scopes: union(slices.Clip(m.Scopes), other.Scopes),
		Methods: union(slices.Clip(m.Methods), other.Methods), Algs: union(slices.Clip(m.Algs), other.Algs),
		DPoP: m.DPoP && other.DPoP,
	}
}

// serve answers a request for the metadata; false if r is something else. base is the
// path of the resource that is asked for.
func (m *resource) serve(w http.ResponseWriter, r *http.Request) (bool, error) {
	if m == nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false, nil
	}
	path := originalURL(r).EscapedPath()
	base, ok := strings.CutPrefix(path, WellKnown) // as RFC 9728 section 3.1 forms it
	if !ok || base != "" && base[0] != '/' {
		if base, ok = strings.CutSuffix(path, WellKnown); !ok { // as challenges name it
			return false, nil
		}
	}
	doc := *m
	if doc.Resource == "" {
		u, ok := publicURL(r, strings.TrimSuffix(base, "/"))
		if !ok {
			return false, nil
		}
		doc.Resource = u
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return true, err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "private, max-age=300") // it names the host that was asked
	h.Set("Access-Control-Allow-Origin", "*")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, err = w.Write(body)
	}
	return true, err
}

// originalURL is the URL as the client sent it.
func originalURL(r *http.Request) *url.URL {
	if o, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && o.URL != nil {
		return o.URL
	}
	return r.URL
}

// publicURL is a URL at the host that the client asked; escaped is its path.
func publicURL(r *http.Request, escaped string) (string, bool) {
	u := origin(r)
	for _, c := range []byte(u.Host) {
		if c != '.' && c != '-' && c != ':' && c != '[' && c != ']' && c != '_' && !isAlphanumeric(c) {
			return "", false
		}
	}
	return u.Scheme + "://" + u.Host + escaped, u.Host != "" && !strings.ContainsAny(escaped, `"\ `)
}

func isAlphanumeric(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

// advertise names the metadata in the challenges for tokens (RFC 9728 section 5.1).
// received is the path as it came to the handler.
func (h *Handler) advertise(r *http.Request, m *resource, received string, challenges []string) []string {
	if m == nil {
		return challenges
	}
	base, ok := strings.CutSuffix(originalURL(r).Path, received)
	if !ok {
		base = ""
	}
	if base += h.Mount; h.gateway != nil {
		base += h.gateway.prefix
		if rest, ok := strings.CutPrefix(received, h.gateway.prefix+"/"); ok && rest != "" && h.gateway.name == "" {
			name, _, _ := strings.Cut(rest, "/")
			base += "/" + name
		}
	}
	where, ok := publicURL(r, (&url.URL{Path: base + WellKnown}).EscapedPath())
	if !ok {
		return challenges
	}
	list := make([]string, len(challenges))
	for i, c := range challenges {
		if list[i] = c; strings.HasPrefix(c, "Bearer ") || strings.HasPrefix(c, dpopScheme+" ") {
			list[i] += `, resource_metadata="` + where + `"`
		}
	}
	return list
}

// metadata is what the handler says of the resource.
func (h *Handler) metadata() *resource {
	if h.gateway != nil {
		return h.gateway.face.resource
	}
	return h.gate.resource
}

// Metadata answers requests for the metadata of a protected resource (RFC 9728) at
// /.well-known/oauth-protected-resource/<path>, for OAuth and MCP clients. rr_proxy and
// rr_gateway with a path matcher add it to the site by themselves.
type Metadata struct {
	// The proxy of the rr app that is described. Default: all of them together.
	Proxy string `json:"proxy,omitempty"`

	resource *resource
}

// CaddyModule returns the Caddy module information.
func (*Metadata) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rr_metadata", New: func() caddy.Module { return new(Metadata) }}
}

// Provision collects what is said.
func (m *Metadata) Provision(ctx caddy.Context) error {
	app, err := AppHost(ctx)
	if err != nil {
		return err
	}
	if app == nil {
		return errors.New("rr_metadata refers to the rr app, but the configuration has none: add the global option `rr { … }`")
	}
	if m.Proxy == "" {
		for _, g := range app.VerifyGates() {
			m.resource = m.resource.join(g.resource)
		}
		return nil
	}
	g, err := app.VerifyGate(m.Proxy)
	if err == nil {
		m.resource = g.resource
	}
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if done, err := m.resource.serve(w, r); done {
		return err
	}
	return next.ServeHTTP(w, r)
}

var _ caddyhttp.MiddlewareHandler = (*Metadata)(nil)
