package rr

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/verify"
)

func init() { caddy.RegisterModule(new(APIHandler)) }

// APIHandler serves the management API on a site. It lets in whom an rr_verify or another
// authenticator before it has identified, and who has a role; everybody else gets 403.
type APIHandler struct {
	// The part of the path before the API's own, such as /manage.
	Prefix string `json:"prefix,omitempty"`
	// The public URL of the API, such as https://gateway.example.com/manage. Consents send
	// browsers back there, and it is in the OpenAPI document.
	URL string `json:"url,omitempty"`
	// Who has which role; of several the highest counts. Required.
	Roles []RoleGrant `json:"roles,omitempty"`
	// Which clients callers have to do with. Default: the client default.
	Clients ClientScope `json:"clients,omitzero"`

	app *App
	api func() http.Handler
}

// RoleGrant gives a role to callers who have one thing.
type RoleGrant struct {
	// reader may read; editor may also change credentials, targets, proxies, rules and
	// blocklists; owner may do everything.
	Role string `json:"role"`
	// Callers whose verified claim of this name has, or is a list with, the value.
	Claim string `json:"claim,omitempty"`
	// The value of the claim.
	Value string `json:"value,omitempty"`
	// Callers whom this credential of the configuration has recognised.
	Credential string `json:"credential,omitempty"`
	// Callers of this id, {http.auth.user.id}, whatever authenticator has set it.
	User string `json:"user,omitempty"`

	role api.Role
}

// ClientScope is which clients callers have to do with: one of its fields.
type ClientScope struct {
	// The verified claim that has the client's id, or a list of them.
	Claim string `json:"claim,omitempty"`
	// The ids of the clients.
	Names []string `json:"names,omitempty"`
	// All clients, and what belongs to none: the audit log as a whole, backups.
	All bool `json:"all,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*APIHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rr_api", New: func() caddy.Module { return new(APIHandler) }}
}

var roles = map[string]api.Role{"reader": api.Reader, "editor": api.Editor, "owner": api.Owner}

// Provision checks the roles.
func (h *APIHandler) Provision(ctx caddy.Context) error {
	app, err := ctx.App("rr")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	if !h.app.provisioned {
		return errors.New("the rr app is not ready")
	}
	if h.app.opener == nil {
		return fmt.Errorf("rr_api: %w", errNoStore)
	}
	h.app.wantsStore = true
	h.Prefix = strings.TrimSuffix(h.Prefix, "/")
	if h.Prefix != "" && h.Prefix[0] != '/' || strings.ContainsAny(h.Prefix, "*%? {}") {
		return fmt.Errorf("rr_api: the prefix %q is not a plain path such as /manage", h.Prefix)
	}
	if h.URL != "" {
		if u, err := url.Parse(h.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return fmt.Errorf("rr_api: url %q is not a URL such as https://gateway.example.com/manage", h.URL)
		}
	}
	if len(h.Roles) == 0 {
		return errors.New("rr_api: nobody has a role; add reader, editor or owner lines")
	}
	for i := range h.Roles {
		if err := h.checkRole(&h.Roles[i]); err != nil {
			return fmt.Errorf("rr_api: role %d: %w", i+1, err)
		}
	}
	if n := len(h.Clients.Names); h.Clients.All && (n > 0 || h.Clients.Claim != "") || n > 0 && h.Clients.Claim != "" {
		return errors.New("rr_api: clients is a claim, or names, or all; not several of these")
	}
	if h.URL != "" {
		h.app.publicAPI = strings.TrimSuffix(h.URL, "/")
	}
	h.api = h.app.managementAPI(api.Options{Prefix: h.Prefix, BaseURL: strings.TrimSuffix(h.URL, "/")})
	return nil
}

func (h *APIHandler) checkRole(g *RoleGrant) error {
	var ok bool
	if g.role, ok = roles[g.Role]; !ok {
		return fmt.Errorf("a role is reader, editor or owner, not %q", g.Role)
	}
	said := 0
	for _, s := range []string{g.Claim, g.Credential, g.User} {
		if s != "" {
			said++
		}
	}
	switch {
	case said != 1:
		return errors.New("it needs a claim and its value, or a credential, or a user")
	case (g.Claim == "") != (g.Value == ""):
		return errors.New("a claim needs a value")
	case g.Credential != "" && h.app.accepts[g.Credential] == nil:
		return fmt.Errorf("the configuration declares no credential %q that callers prove themselves with; %s", g.Credential, known(h.app.accepts))
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *APIHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if err := h.app.openStore(); err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	ctx := r.Context()
	if p, ok := h.principal(r); ok {
		ctx = api.WithPrincipal(ctx, p)
	}
	h.api().ServeHTTP(w, r.WithContext(ctx))
	return nil
}

// principal is who calls, if it is known and has a role.
func (h *APIHandler) principal(r *http.Request) (p api.Principal, ok bool) {
	c := callerOf(r)
	for i := range h.Roles {
		if g := &h.Roles[i]; g.role > p.Role && c.has(g) {
			p.Role = g.role
		}
	}
	if p.Role == api.NoRole {
		return p, false
	}
	switch s := &h.Clients; {
	case s.All:
		p.All = true
	case s.Claim != "":
		p.Clients = c.texts(s.Claim)
	case len(s.Names) > 0:
		p.Clients = s.Names
	default:
		p.Clients = []string{store.DefaultClient}
	}
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	p.Actor = audit.Actor{Kind: "user", Name: c.user, Address: address}
	if c.label != "" {
		p.Actor.Kind = "credential"
		p.Actor.Name = c.label
		if c.user != "" {
			p.Actor.Name += ": " + c.user
		}
	}
	return p, true
}

// caller is what is known of who calls the API.
type caller struct {
	user, credential string
	label            string // the credential's name or kind, for the audit log
	claims           map[string]any
}

// callerOf asks rr_verify, or else whatever authenticator Caddy has had. A caller whom a
// credential of the store has recognised is nobody here: whoever makes credentials must not
// make managers.
func callerOf(r *http.Request) caller {
	if x := exchange.From(r.Context()); x != nil {
		if _, declared := x.Gate.(*verify.Gate); !declared {
			return caller{}
		}
		// neither is a kind a credential's name, nor a credential's name a user's id
		c := caller{claims: rule.AllOf(x.Claims), label: x.Credential}
		if x.Named {
			c.credential = x.Credential
		}
		if x.OwnID {
			c.user = x.ID
		}
		return c
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return caller{}
	}
	id, _ := repl.GetString("http.auth.user.id")
	return caller{user: id}
}

func (c *caller) has(g *RoleGrant) bool {
	switch {
	case g.User != "":
		return c.user == g.User
	case g.Credential != "":
		return c.credential == g.Credential
	}
	for _, text := range c.texts(g.Claim) {
		if text == g.Value {
			return true
		}
	}
	return false
}

// texts are a claim's text, or the texts of its list.
func (c *caller) texts(name string) (list []string) {
	v, ok := rule.Claim(c.claims, name)
	if !ok {
		return nil
	}
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				list = append(list, s)
			}
		}
	}
	return list
}

// Interface guards
var (
	_ caddy.Provisioner           = (*APIHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*APIHandler)(nil)
)
