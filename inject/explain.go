package inject

import (
	"fmt"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Explain does what rr_inject would do to a request that rr_verify let through and tells
// each step. It needs no upstream and sends nothing.
func (g *Gate) Explain(x *exchange.Exchange) (steps []exchange.Step, ref *exchange.Refusal) {
	for _, scope := range []struct {
		name string
		set  *rule.Set
	}{{"target " + g.target.name, g.set}, {"credential " + g.label(), g.cred.set}} {
		more, ref := exchange.ExplainScope(scope.set, &x.Input, scope.name)
		if steps = append(steps, more...); ref != nil {
			return steps, ref
		}
	}
	return append(steps, exchange.Step{
		Scope: "upstream", What: "present " + g.label(),
		Result: fmt.Sprintf("goes to %s://%s%s%s", g.target.scheme, g.target.authority, g.target.base, x.Input.Path),
	}), nil
}

// Upstream is where the gate's requests go, as scheme://host:port.
func (g *Gate) Upstream() string { return g.target.Address() }

// Address is where a target is, as scheme://host:port.
func (t *Target) Address() string { return t.scheme + "://" + t.dial }
