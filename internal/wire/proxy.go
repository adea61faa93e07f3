package wire

import (
	"slices"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// ProxyRequest is a body that makes or changes a proxy.
type ProxyRequest struct {
	Name               string        `json:"proxyName,omitempty" maxLength:"128" doc:"Its name, unique among the client's; required to make one" example:"stripe-payment-api"`
	Region             string        `json:"proxyRegion,omitempty" maxLength:"64" doc:"A label, fixed when the proxy is made" example:"us-east-1"`
	CredentialID       string        `json:"proxyProxyCredentialId,omitempty" maxLength:"128" doc:"What callers prove themselves with: a proxy credential's id or name. One of this and the list is required to make one" example:"0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61"`
	CredentialIDs      Texts         `json:"proxyProxyCredentialIds,omitempty" maxItems:"1000" doc:"Several of them; beside proxyProxyCredentialId, that is the first"`
	TargetID           string        `json:"proxyTargetId,omitempty" maxLength:"128" doc:"The target's id or name; required to make one"`
	TargetCredentialID string        `json:"proxyTargetCredentialId,omitempty" maxLength:"128" doc:"The target credential's id or name; required to make one"`
	Active             bool          `json:"proxyActive,omitempty" doc:"Whether it serves requests. Default: true" example:"true"`
	Effect             string        `json:"proxyDefaultRuleEffect,omitempty" enum:"allow,deny" doc:"What holds when none of its rules matches. Default: deny if it has an allow rule, else allow"`
	Alias              string        `json:"proxyAlias,omitempty" maxLength:"128" doc:"Another name for its URL, unique among all: letters, digits and -._~, not like an id" example:"payment-gateway"`
	EncodedSlash       string        `json:"proxyEncodedSlash,omitempty" alias:"encodedSlash" enum:"keep" doc:"keep lets %2F through inside path segments. Default: such paths are refused"`
	MaxBody            int64         `json:"proxyMaxBody,omitempty" alias:"maxBody" maximum:"67108864" doc:"The largest body, in bytes, that body rules look into. Default: 1 MiB"`
	Rules              []RuleRequest `json:"proxyRules,omitempty" maxItems:"1000" rr:"rules" doc:"Its rules, in any of their shapes, in the place of those it has; a rule with the ruleId of one that is there stays that rule"`
}

// Proxy is a proxy as it is shown.
type Proxy struct {
	Ids
	ID                 string    `json:"proxyId" readOnly:"true" example:"0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61"`
	Name               string    `json:"proxyName" example:"stripe-payment-api"`
	Region             string    `json:"proxyRegion,omitempty" example:"us-east-1"`
	CredentialID       string    `json:"proxyProxyCredentialId" doc:"The first of proxyProxyCredentialIds"`
	CredentialIDs      []string  `json:"proxyProxyCredentialIds" nullable:"false"`
	TargetID           string    `json:"proxyTargetId"`
	TargetCredentialID string    `json:"proxyTargetCredentialId"`
	Active             bool      `json:"proxyActive" example:"true"`
	Effect             string    `json:"proxyDefaultRuleEffect,omitempty" enum:"allow,deny"`
	Alias              string    `json:"proxyAlias,omitempty" example:"payment-gateway"`
	EncodedSlash       string    `json:"proxyEncodedSlash,omitempty"`
	MaxBody            int64     `json:"proxyMaxBody,omitempty"`
	Rules              []Rule    `json:"proxyRules,omitempty" doc:"Its rules"`
	CreatedAt          time.Time `json:"proxyCreatedAt,omitzero" readOnly:"true"`
	UpdatedAt          time.Time `json:"proxyUpdatedAt,omitzero" readOnly:"true"`
}

var proxyRequest = newRequest(ProxyRequest{}, Proxy{}, map[string]string{
	"proxyMaxRequestsPerMinute": noMeters, "proxyMaxRequestsPerDay": noMeters, "meters": noMeters, "proxyMeters": noMeters,
	"filters": noFilters, "proxyFilters": noFilters,
})

// DecodeProxy reads a body that makes a proxy, or that changes old. What it refers to may
// be ids or names. The error is Faults.
func DecodeProxy(body []byte, old *store.Proxy) (*store.Proxy, error) {
	r := new(reader)
	p := new(store.Proxy)
	var head *store.Head
	if old != nil {
		*p = *old
		head = &old.Head
	}
	m, ok := proxyRequest.read(r, body, head, "proxyId")
	if !ok {
		return nil, r.err()
	}
	r.name(m, "proxyName", &p.Name)
	r.region(m, "proxyRegion", &p.Region)
	r.effect(m, "proxyDefaultRuleEffect", &p.Default)
	r.callers(m, p)
	r.reference(m, "proxyTargetId", "the target", &p.TargetID)
	r.reference(m, "proxyTargetCredentialId", "the target credential; make one of the kind none if the upstream needs none", &p.TargetCredentialID)
	active := !p.Inactive
	if v, there := m.values["proxyActive"]; there {
		active = v == nil || v == true
	}
	p.Inactive = !active
	m.text("proxyAlias", &p.Alias)
	if p.Alias != "" && (!isToken(p.Alias) || looksLikeID(p.Alias)) {
		r.fault(m.place("proxyAlias", "proxyAlias"), "an alias has up to %d letters, digits and -._~, and does not look like an id", MaxName)
	}
	m.text("proxyEncodedSlash", &p.EncodedSlash)
	m.number("proxyMaxBody", &p.MaxBody)
	r.rules(m, "proxyRules", &p.Rules)
	if err := r.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// reference sets the id or name of another record.
func (r *reader) reference(m *members, member, what string, to *string) {
	m.text(member, to)
	if *to == "" && !m.bad[member] {
		r.fault(m.place(member, member), "it is missing: it is the id or name of %s", what)
	}
}

// callers sets the proxy credentials. Who knows the single field alone can change a proxy
// that has several: while it says the first one nothing is changed.
func (r *reader) callers(m *members, p *store.Proxy) {
	const one, all = "proxyProxyCredentialId", "proxyProxyCredentialIds"
	before := p.CredentialIDs
	var list []string
	m.list(all, &list)
	single, _ := m.values[one].(string)
	switch {
	case m.bad[one] || m.bad[all]:
		return
	case len(list) > 0:
		p.CredentialIDs = list
	case single != "" && (len(before) == 0 || before[0] != single):
		p.CredentialIDs = []string{single}
	case single == "" && (m.given(one) || m.given(all)):
		p.CredentialIDs = nil
	}
	if len(list) > 0 && single != "" && list[0] != single {
		r.fault(m.place(one, one), "it is not the first of proxyProxyCredentialIds; say one of the two, or the same in both")
	}
	if len(p.CredentialIDs) == 0 {
		r.fault(m.place(one, one), "it is missing: it is the id or name of the proxy credential that callers prove themselves with")
	}
	seen := map[string]bool{}
	for i, id := range list {
		at := pointer(m.place(all, all), i)
		switch {
		case id == "" || len(id) > MaxName*4:
			r.fault(at, "it has to be an id or name of a proxy credential")
		case seen[id]:
			r.fault(at, "it is there twice")
		}
		seen[id] = true
	}
}

// ShowProxy is a proxy as the API shows it.
func ShowProxy(p *store.Proxy) Proxy {
	shown := Proxy{
		Ids: idsOf(&p.Head), ID: p.ID, Name: p.Name, Region: p.Region, CredentialIDs: slices.Clone(p.CredentialIDs),
		TargetID: p.TargetID, TargetCredentialID: p.TargetCredentialID, Active: !p.Inactive, Effect: p.Default, Alias: p.Alias,
		EncodedSlash: p.EncodedSlash, MaxBody: p.MaxBody, Rules: showRules(p.Rules, &p.Head), CreatedAt: shownTime(p.CreatedAt), UpdatedAt: shownTime(p.UpdatedAt),
	}
	if shown.CredentialIDs == nil {
		shown.CredentialIDs = []string{}
	} else if len(shown.CredentialIDs) > 0 {
		shown.CredentialID = shown.CredentialIDs[0]
	}
	return shown
}
