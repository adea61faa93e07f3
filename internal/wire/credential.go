package wire

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// CredentialRequest is a body that makes or changes a credential.
type CredentialRequest struct {
	Name      string        `json:"credentialName,omitempty" doc:"Its name, unique among the client's; required to make one" maxLength:"128" example:"clearbit-enrichment"`
	Type      string        `json:"credentialType,omitempty" enum:"proxy,target" doc:"Who uses it: callers (proxy), or the gateway towards an upstream (target); required to make one"`
	AuthType  string        `json:"credentialAuthType,omitempty" maxLength:"64" doc:"Its kind; required to make one" example:"key"`
	Region    string        `json:"credentialRegion,omitempty" maxLength:"64" doc:"A label; credentials, target and proxy that belong together have the same, or none" example:"us-east-1"`
	Secret    Object        `json:"credentialSecret,omitempty" doc:"The secret and the kind's options. Secrets are never shown again; what is not said stays as it is, null takes it away" example:"{\"key\":\"sk_clearbit_xxxxxxxxxxxxxx\"}"`
	Effect    string        `json:"credentialDefaultRuleEffect,omitempty" enum:"allow,deny" doc:"What holds when none of its rules matches. Default: deny if it has an allow rule, else allow"`
	Hosts     Texts         `json:"credentialHosts,omitempty" maxItems:"100" doc:"Of target credentials: where it may be sent. Default: the hosts of the targets it is used with" example:"[\"api.stripe.com\"]"`
	ExpiresAt time.Time     `json:"credentialExpiresAt,omitzero" doc:"Of proxy credentials: when it stops being accepted (RFC 3339). Default: never"`
	Rules     []RuleRequest `json:"credentialRules,omitempty" maxItems:"1000" rr:"rules" doc:"Its rules, in any of their shapes, in the place of those it has; a rule with the ruleId of one that is there stays that rule"`
}

// Credential is a credential as it is shown.
type Credential struct {
	Ids
	ID            string         `json:"credentialId" readOnly:"true" example:"0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61"`
	Name          string         `json:"credentialName" example:"clearbit-enrichment"`
	Type          string         `json:"credentialType" enum:"proxy,target"`
	AuthType      string         `json:"credentialAuthType" example:"key"`
	Region        string         `json:"credentialRegion,omitempty" example:"us-east-1"`
	Secret        map[string]any `json:"credentialSecret,omitempty" doc:"The options that are no secrets; and, once, a key that was made"`
	Effect        string         `json:"credentialDefaultRuleEffect,omitempty" enum:"allow,deny"`
	Hosts         []string       `json:"credentialHosts,omitempty" doc:"Of target credentials: where it may be sent" example:"[\"api.stripe.com\"]"`
	BoundTo       []string       `json:"credentialBoundTo,omitempty" readOnly:"true" doc:"Of target credentials without credentialHosts: where it was first used; it goes nowhere else" example:"[\"https://api.stripe.com:443\"]"`
	ExpiresAt     *time.Time     `json:"credentialExpiresAt,omitempty" doc:"When it stops being accepted"`
	Temporary     bool           `json:"credentialTemporary,omitempty" readOnly:"true" doc:"Nobody has consented yet (authorization_code)"`
	RotatedAt     *time.Time     `json:"credentialRotatedAt,omitempty" readOnly:"true" doc:"When its secret was last rotated"`
	PreviousUntil *time.Time     `json:"credentialPreviousUntil,omitempty" readOnly:"true" doc:"Until when a secret from before a rotation is accepted, too"`
	LastUsedAt    *time.Time     `json:"credentialLastUsedAt,omitempty" readOnly:"true" doc:"When it was last used, about"`
	Rules         []Rule         `json:"credentialRules,omitempty" doc:"Its rules"`
	CreatedAt     time.Time      `json:"credentialCreatedAt,omitzero" readOnly:"true"`
	UpdatedAt     time.Time      `json:"credentialUpdatedAt,omitzero" readOnly:"true"`
	Warnings      []string       `json:"warnings,omitempty" readOnly:"true" doc:"What was taken, but should be better"`
}

var credentialRequest = newRequest(CredentialRequest{}, Credential{}, map[string]string{
	"filters": noFilters, "credentialFilters": noFilters, "meters": noMeters,
})

// DecodeCredential reads a body that makes a credential, or that changes old. The error is
// Faults.
func DecodeCredential(body []byte, old *store.Credential) (*store.Credential, *Generated, error) {
	r := new(reader)
	c := new(store.Credential)
	if old != nil {
		*c = *old
	}
	m, ok := credentialRequest.read(r, body, headOf(old), "credentialId")
	if !ok {
		return nil, nil, r.err()
	}
	r.name(m, "credentialName", &c.Name)
	r.region(m, "credentialRegion", &c.Region)
	r.effect(m, "credentialDefaultRuleEffect", &c.Default)
	k := r.kind(m, c, old)
	var made *Generated
	if k != nil {
		made = r.secretOf(m, k, c, old)
	}
	r.oneSided(m, c)
	if k != nil && old != nil {
		r.keepHosts(m, k, c, old)
	}
	r.rules(m, "credentialRules", &c.Rules)
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return c, made, nil
}

func headOf(c *store.Credential) *store.Head {
	if c == nil {
		return nil
	}
	return &c.Head
}

// kind sets the side and the kind; nil if one of them is wrong.
func (r *reader) kind(m *members, c *store.Credential, old *store.Credential) *kind {
	m.text("credentialType", &c.Side)
	m.text("credentialAuthType", &c.AuthType)
	switch {
	case m.bad["credentialType"]:
		return nil
	case c.Side == "":
		r.fault(m.place("credentialType", "credentialType"), "it is missing: it is proxy for what callers prove themselves with, target for what upstreams accept")
		return nil
	case old != nil && c.Side != old.Side:
		r.fault(m.place("credentialType", "credentialType"), "it is fixed when a credential is made")
		return nil
	case m.bad["credentialAuthType"]:
		return nil
	}
	if k := kindOf(c.Side, c.AuthType); k != nil {
		return k
	}
	at, types := m.place("credentialAuthType", "credentialAuthType"), AuthTypes(c.Side)
	other := store.ProxySide
	if c.Side == other {
		other = store.TargetSide
	}
	switch near := nearest(c.AuthType, types); {
	case c.AuthType == "":
		r.fault(at, "it is missing: %s credentials are of %s", c.Side, strings.Join(types, ", "))
	case kindOf(other, c.AuthType) != nil:
		r.fault(at, "this kind is for %s credentials; %s credentials are of %s", other, c.Side, strings.Join(types, ", "))
	case near != "":
		r.fault(at, "there is no such kind; did you mean %s?", near)
	default:
		r.fault(at, "there is no such kind; %s credentials are of %s", c.Side, strings.Join(types, ", "))
	}
	return nil
}

// secretOf sets the spec. Another kind starts anew.
func (r *reader) secretOf(m *members, k *kind, c *store.Credential, old *store.Credential) *Generated {
	if m.bad["credentialSecret"] {
		return nil
	}
	v, at := m.values["credentialSecret"], pointer("", "credentialSecret")
	var stored store.Secret
	if old != nil && kindOf(old.Side, old.AuthType) == k {
		stored = old.Spec
	}
	if stored != nil && v == nil {
		return nil // it stays as it is
	}
	spec, made := r.spec(k, v, at, stored, false)
	if spec == nil {
		return made
	}
	if !bytes.Equal(spec, c.Spec) {
		c.Previous = nil // a change that is no rotation leaves nothing
	}
	before := consents(c.Spec)
	c.Spec = spec
	c.Temporary = consents(spec) && (c.Temporary || !before)
	return made
}

// consents tells whether a spec's tokens come from somebody's consent.
func consents(spec store.Secret) bool {
	var s struct {
		Kind  string `json:"kind"`
		Grant string `json:"grant"`
	}
	return json.Unmarshal(spec, &s) == nil && s.Kind == "oauth2" && s.Grant == "authorization_code"
}

// oneSided sets what only one side has.
func (r *reader) oneSided(m *members, c *store.Credential) {
	m.list("credentialHosts", &c.Hosts)
	m.moment("credentialExpiresAt", &c.ExpiresAt)
	if len(c.Hosts) > 0 && c.Side == store.ProxySide {
		r.fault(m.place("credentialHosts", "credentialHosts"), "only target credentials are sent to hosts")
	}
	for i, h := range c.Hosts {
		if h == "" || len(h) > 512 {
			r.fault(pointer(m.place("credentialHosts", "credentialHosts"), i), "a host is such as api.example.com, https://*.example.com or http://10.0.0.7:8080")
		}
	}
	if !c.ExpiresAt.IsZero() && c.Side == store.TargetSide {
		r.fault(m.place("credentialExpiresAt", "credentialExpiresAt"), "only proxy credentials expire; upstreams decide about theirs")
	}
}

// keepHosts refuses to let a stored secret go to more hosts than before: whoever may change a
// credential need not know what is in it.
func (r *reader) keepHosts(m *members, k *kind, c, old *store.Credential) {
	wider := len(old.Hosts) == 0 && len(old.Pinned) > 0 && len(c.Hosts) > 0 || len(old.Hosts) > 0 && (len(c.Hosts) == 0 || slices.ContainsFunc(c.Hosts, func(h string) bool { return !slices.Contains(old.Hosts, h) }))
	if !wider || old.Side != store.TargetSide {
		return
	}
	var stored map[string]any
	_ = json.Unmarshal(old.Spec, &stored)
	said, _ := m.values["credentialSecret"].(map[string]any)
	given := map[*field]bool{}
	for name, v := range said {
		given[k.schema().find(name, v)] = v != nil
	}
	for _, f := range k.schema().fields {
		if !f.open && stored[f.key] != nil && !given[f] {
			r.fault(m.place("credentialHosts", "credentialHosts"), "what is stored and not said here would go to other hosts: say all secrets again to change them")
			return
		}
	}
}

// ShowCredential is a credential as the API shows it. made is what its decoder made, to be
// shown once; nil otherwise.
func ShowCredential(c *store.Credential, lastUsed time.Time, made *Generated) Credential {
	shown := Credential{
		Ids: idsOf(&c.Head), ID: c.ID, Name: c.Name, Type: c.Side, AuthType: c.AuthType, Region: c.Region,
		Secret: showSpec(kindOf(c.Side, c.AuthType), c.Spec), Effect: c.Default, Hosts: slices.Clone(c.Hosts), BoundTo: slices.Clone(c.Pinned),
		ExpiresAt: shownTimes(c.ExpiresAt), Temporary: c.Temporary, RotatedAt: shownTimes(c.RotatedAt),
		LastUsedAt: shownTimes(lastUsed), CreatedAt: shownTime(c.CreatedAt), UpdatedAt: shownTime(c.UpdatedAt),
		Warnings: made.warnings(), Rules: showRules(c.Rules, &c.Head),
	}
	var until time.Time
	for _, p := range c.Previous {
		if p.Until.After(until) {
			until = p.Until
		}
	}
	shown.PreviousUntil = shownTimes(until)
	if key := made.key(); key != "" {
		shown.Secret["key"] = once(key)
	}
	return shown
}
