package wire

import (
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// Pattern is a regular expression (RE2).
type Pattern struct {
	Pattern string `json:"pattern" maxLength:"2048" doc:"A regular expression (RE2: no look-around, no back-references)" example:"^/v1/orders"`
	Flags   string `json:"flags,omitempty" maxLength:"16" doc:"i (any case), m (^ and $ at lines too), s (. is a line end too); g and u are ignored" example:"i"`
}

// RulePath is a condition on the path.
type RulePath struct {
	Path     Pattern `json:"path"`
	Presence string  `json:"presence,omitempty" enum:"must_exist,must_not_exist" doc:"Whether the path has to fit, or may not. Default: must_exist"`
}

// RuleCheck is a condition on a header or a query parameter.
type RuleCheck struct {
	Name     Pattern  `json:"name" doc:"Which: ^X-Env$ is the one, any other pattern all that fit it"`
	Value    *Pattern `json:"value,omitempty" doc:"What its value has to fit. Default: anything"`
	Presence string   `json:"presence,omitempty" enum:"must_exist,must_not_exist" doc:"Whether there has to be such a one, or may not. Default: must_exist"`
}

// RuleBodyCheck is a condition on a JSON or form body.
type RuleBodyCheck struct {
	JSONPath   any      `json:"jsonPath" doc:"Which values: a text is a JSONPath (RFC 9535); an object with a pattern is a regular expression for their paths, such as $.items[0].id or items[0].id" example:"{\"pattern\":\".*\"}"`
	MatchValue *Pattern `json:"matchValue,omitempty" doc:"What the value has to fit. Default: anything"`
	Presence   string   `json:"presence,omitempty" enum:"must_exist,must_not_exist" doc:"Whether there has to be such a one, or may not. Default: must_exist"`
}

// RuleTokenCheck is a condition on the verified claims of the caller.
type RuleTokenCheck struct {
	Claim    any      `json:"claim" doc:"Which claim: its name, nested ones by dots; or an object with a pattern for names" example:"\"tenant.id\""`
	Value    *Pattern `json:"value,omitempty" doc:"What it has to fit; of a list, one element. Default: anything"`
	Presence string   `json:"presence,omitempty" enum:"must_exist,must_not_exist" doc:"Whether there has to be such a one, or may not. Default: must_exist"`
}

// RuleRequest is a body that makes or replaces a rule, in the shape of the answers. The
// other published shapes are taken as well.
type RuleRequest struct {
	Effect   string           `json:"effect" enum:"allow,deny" doc:"What a matching request gets"`
	Priority int              `json:"priority,omitempty" minimum:"0" maximum:"1000" doc:"Sorts lists and decides nothing" example:"900"`
	Methods  []string         `json:"methods,omitempty" maxItems:"64" doc:"The methods. Default: all. HEAD is not GET" example:"[\"GET\",\"POST\"]"`
	Path     *RulePath        `json:"path,omitempty" doc:"A pattern for the path"`
	Paths    []string         `json:"paths,omitempty" maxItems:"64" doc:"Path globs as in a Caddyfile, of which one has to fit" example:"[\"/v1/charges/*\"]"`
	Headers  []RuleCheck      `json:"headers,omitempty" maxItems:"32" doc:"Conditions on headers, all of which have to hold"`
	Query    []RuleCheck      `json:"query,omitempty" maxItems:"32" doc:"Conditions on query parameters"`
	Body     []RuleBodyCheck  `json:"body,omitempty" maxItems:"32" doc:"Conditions on the body"`
	Token    []RuleTokenCheck `json:"token,omitempty" maxItems:"32" doc:"Conditions on the verified claims"`
	Notes    string           `json:"notes,omitempty" maxLength:"1000" doc:"Why the rule exists"`
}

// Rule is a rule as it is shown.
type Rule struct {
	Ids
	ID string `json:"ruleId" readOnly:"true" example:"0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61"`
	RuleRequest
	Expression string    `json:"expression,omitempty" readOnly:"true" doc:"Of rules of the configuration: a CEL expression"`
	CreatedAt  time.Time `json:"ruleCreatedAt,omitzero" readOnly:"true"`
}

// DecodeRule reads a body that makes a rule, or that replaces old. Who makes it gives it
// its ID and time. The error is Faults.
func DecodeRule(body []byte, old *store.Rule) (*store.Rule, error) {
	r := new(reader)
	object, ok := r.object(body)
	if !ok {
		return nil, r.err()
	}
	made := new(store.Rule)
	if old != nil {
		made.ID, made.CreatedAt = old.ID, old.CreatedAt
		for _, name := range []string{"ruleId", "sKey"} {
			if v, there := object[name]; there && v != any(old.ID) {
				r.fault(pointer("", name), "it is not the rule's, and cannot be changed")
			}
		}
	}
	d := newRuleReader(r, object)
	made.Priority, made.Rule = d.priority(), d.rule()
	if err := r.err(); err != nil {
		return nil, err
	}
	return made, nil
}
