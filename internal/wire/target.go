package wire

import (
	"net/url"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// TargetRequest is a body that makes or changes a target.
type TargetRequest struct {
	Name         string        `json:"targetName,omitempty" maxLength:"128" doc:"Its name, unique among the client's; required to make one" example:"stripe"`
	BaseURL      string        `json:"targetBaseURL,omitempty" maxLength:"2048" doc:"Where it is: https, http or h2c (HTTP/2 without TLS), a host, maybe a path; required to make one" example:"https://api.stripe.com"`
	TestPath     string        `json:"targetTestPath,omitempty" maxLength:"2048" doc:"A path that answers to a simple GET" example:"/health"`
	Region       string        `json:"targetRegion,omitempty" maxLength:"64" doc:"A label, fixed when the target is made" example:"us-east-1"`
	InsecureHTTP bool          `json:"targetInsecureHTTP,omitempty" doc:"Allow plain http to public addresses, so that the credential crosses the Internet unprotected"`
	Effect       string        `json:"targetDefaultRuleEffect,omitempty" enum:"allow,deny" doc:"What holds when none of its rules matches. Default: deny if it has an allow rule, else allow"`
	Rules        []RuleRequest `json:"targetRules,omitempty" maxItems:"1000" rr:"rules" doc:"Its rules, in any of their shapes, in the place of those it has; a rule with the ruleId of one that is there stays that rule"`
}

// Target is a target as it is shown.
type Target struct {
	Ids
	ID           string    `json:"targetId" readOnly:"true" example:"0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61"`
	Name         string    `json:"targetName" example:"stripe"`
	BaseURL      string    `json:"targetBaseURL" example:"https://api.stripe.com"`
	TestPath     string    `json:"targetTestPath,omitempty" example:"/health"`
	Region       string    `json:"targetRegion,omitempty" example:"us-east-1"`
	InsecureHTTP bool      `json:"targetInsecureHTTP,omitempty"`
	Effect       string    `json:"targetDefaultRuleEffect,omitempty" enum:"allow,deny"`
	Rules        []Rule    `json:"targetRules,omitempty" doc:"Its rules"`
	CreatedAt    time.Time `json:"targetCreatedAt,omitzero" readOnly:"true"`
	UpdatedAt    time.Time `json:"targetUpdatedAt,omitzero" readOnly:"true"`
}

var targetRequest = newRequest(TargetRequest{}, Target{}, map[string]string{
	"filters": noFilters, "targetFilters": noFilters,
	"transport": "options of the transport name files and proxies; only a configuration may have them",
})

// DecodeTarget reads a body that makes a target, or that changes old. The error is Faults.
func DecodeTarget(body []byte, old *store.Target) (*store.Target, error) {
	r := new(reader)
	t := new(store.Target)
	var head *store.Head
	if old != nil {
		*t = *old
		head = &old.Head
	}
	m, ok := targetRequest.read(r, body, head, "targetId")
	if !ok {
		return nil, r.err()
	}
	r.name(m, "targetName", &t.Name)
	r.region(m, "targetRegion", &t.Region)
	r.effect(m, "targetDefaultRuleEffect", &t.Default)
	m.yes("targetInsecureHTTP", &t.InsecureHTTP)
	m.text("targetBaseURL", &t.URL)
	if at := m.place("targetBaseURL", "targetBaseURL"); !m.bad["targetBaseURL"] {
		r.baseURL(t.URL, at)
	}
	m.text("targetTestPath", &t.TestPath)
	if t.TestPath != "" && !isPath(t.TestPath) {
		r.fault(m.place("targetTestPath", "targetTestPath"), "it has to be a path such as /health?deep=1, that begins with a slash")
	}
	r.rules(m, "targetRules", &t.Rules)
	if err := r.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// isPath tells whether a text is a path, maybe with a query, as a request has it.
func isPath(s string) bool {
	if !strings.HasPrefix(s, "/") || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' }) {
		return false
	}
	_, err := url.ParseRequestURI(s)
	return err == nil
}

// baseURL judges a target's URL by its form; the catalogue judges where it leads. No error
// has it: it may well hold a password.
func (r *reader) baseURL(s, at string) {
	if s == "" {
		r.fault(at, "it is missing: it is the upstream's URL, such as https://api.example.com/v2")
		return
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		r.fault(at, "it is not a URL such as https://api.example.com/v2")
	case u.User != nil:
		r.fault(at, "a user or password in the URL is not for the target; make a credential of the kind basic")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		r.fault(at, "it has a query or fragment; a target is scheme, host and path")
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "h2c":
		r.fault(at, "its scheme has to be https, http or h2c")
	}
}

// ShowTarget is a target as the API shows it.
func ShowTarget(t *store.Target) Target {
	return Target{
		Ids: idsOf(&t.Head), ID: t.ID, Name: t.Name, BaseURL: t.URL, TestPath: t.TestPath, Region: t.Region,
		InsecureHTTP: t.InsecureHTTP, Effect: t.Default, Rules: showRules(t.Rules, &t.Head), CreatedAt: shownTime(t.CreatedAt), UpdatedAt: shownTime(t.UpdatedAt),
	}
}
