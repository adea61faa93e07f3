package exchange

import (
	"fmt"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Step is one line of an explanation: who looked at a request, and what came of it.
type Step struct {
	// Scope is request, caller, credential <name>, proxy, target …
	Scope string `json:"scope"`
	// What looked: a verifier or a rule.
	What string `json:"what"`
	// Result in words.
	Result string `json:"result"`
}

// Report explains what would happen to a request.
type Report struct {
	// Decision is the code that RR-Proxy-Code would have.
	Decision string `json:"decision"`
	// Status is the refusal's status, 0 if the request would be forwarded.
	Status int `json:"status,omitempty"`
	// Credential that recognised the caller.
	Credential string `json:"credential,omitempty"`
	// Upstream is where the request would go.
	Upstream string `json:"upstream,omitempty"`
	// Steps in order.
	Steps []Step `json:"steps"`
}

// ExplainScope tells what each rule of a scope says of a request and what the scope
// decides; the refusal is nil if it allows.
func ExplainScope(set *rule.Set, in *rule.Input, scope string) ([]Step, *Refusal) {
	var steps []Step
	for i, v := range set.Explain(in) {
		result := "does not match: " + v.Why
		switch {
		case v.Err != nil:
			result = "cannot be evaluated: " + v.Err.Error()
		case v.Matches:
			result = "matches"
		}
		steps = append(steps, Step{scope, fmt.Sprintf("rule %d: %s", i+1, describe(v.Rule)), result})
	}
	d := set.Decide(in)
	if d.Allowed {
		how := fmt.Sprintf("rule %d", d.Rule+1)
		if d.Rule < 0 {
			how = "default"
		}
		return append(steps, Step{scope, how, "allows"}), nil
	}
	reason := Denial(d, scope)
	_, text, _ := strings.Cut(reason.Error(), ": ")
	return append(steps, Step{scope, "decision", text}), Refuse(403, CodeDenied, reason)
}

// describe is a rule as the Caddyfile has it, on one line.
func describe(r rule.Rule) string {
	words := []string{r.Effect}
	if len(r.Methods) > 0 {
		words = append(words, strings.Join(r.Methods, ","))
	}
	words = append(words, r.Paths...)
	if r.PathRegexp != "" {
		if r.PathAbsent {
			words = append(words, "absent")
		}
		words = append(words, "path_regexp", r.PathRegexp)
	}
	for _, part := range []struct {
		name   string
		checks []rule.Check
	}{{"header", r.Headers}, {"query", r.Query}, {"claim", r.Claims}, {"body", r.Body}} {
		for _, c := range part.checks {
			if c.Absent {
				words = append(words, "absent")
			}
			words = append(words, part.name, c.Name+c.NamePattern)
			if c.Pattern != "" {
				words = append(words, c.Pattern)
			}
		}
	}
	if r.Expression != "" {
		words = append(words, "expression", r.Expression)
	}
	if r.Note != "" {
		words = append(words, "("+r.Note+")")
	}
	return strings.Join(words, " ")
}
