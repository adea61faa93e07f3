package wire

import (
	"encoding/json"
	"slices"

	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
)

// ShowRule is a rule of a record, of which owner is the head, as the API shows it. Decoding
// what is shown gives the same rule.
func ShowRule(r *store.Rule, owner *store.Head) Rule {
	shown := Rule{
		Ids: idsOf(owner), ID: r.ID, Expression: r.Rule.Expression, CreatedAt: shownTime(r.CreatedAt),
		RuleRequest: RuleRequest{
			Effect: r.Rule.Effect, Priority: r.Priority, Notes: r.Rule.Note,
			Methods: slices.Clone(r.Rule.Methods), Paths: slices.Clone(r.Rule.Paths),
			Headers: showChecks(r.Rule.Headers), Query: showChecks(r.Rule.Query),
		},
	}
	shown.PKey, shown.SKey = owner.ID, r.ID
	if r.Rule.PathRegexp != "" {
		shown.Path = &RulePath{showPattern(r.Rule.PathRegexp), presenceOf(r.Rule.PathAbsent)}
	}
	for _, k := range r.Rule.Body {
		shown.Body = append(shown.Body, RuleBodyCheck{showPart(k), showValue(k), presenceOf(k.Absent)})
	}
	for _, k := range r.Rule.Claims {
		shown.Token = append(shown.Token, RuleTokenCheck{showPart(k), showValue(k), presenceOf(k.Absent)})
	}
	return shown
}

func showChecks(checks []rule.Check) []RuleCheck {
	var list []RuleCheck
	for _, k := range checks {
		list = append(list, RuleCheck{showName(k), showValue(k), presenceOf(k.Absent)})
	}
	return list
}

// CheckRules judges all rules of a scope together: how many there are, and how much. The
// error is Faults.
func CheckRules(rules []store.Rule) error {
	r := new(reader)
	if len(rules) > MaxRules {
		r.fault("", "there are %d rules, at most %d are taken", len(rules), MaxRules)
	} else if b, err := json.Marshal(rules); err != nil || len(b) > MaxRulesSize {
		r.fault("", "all rules together have more than %d bytes", MaxRulesSize)
	} else if tooLarge(rules) {
		r.fault("", "all patterns together have more than %d parts, with their repetitions written out", MaxScopeOps)
	}
	return r.err()
}
