package verify

import (
	"net/http"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Explain does what rr_verify does to a request and tells each step. It fills in x for
// the other side; the refusal is nil if the request would go on.
func (g *Gate) Explain(r *http.Request, x *exchange.Exchange) (steps []exchange.Step, ref *exchange.Refusal) {
	say := func(scope, what, result string) {
		steps = append(steps, exchange.Step{Scope: scope, What: what, Result: result})
	}
	x.Proxy, x.KeepSlash, x.Stripped = g.name, g.keepSlash, g.main.slots.folded
	method, ref := exchange.CheckMethod(r)
	if ref != nil {
		say("request", "method "+r.Method, ref.Reason.Error())
		return steps, ref
	}
	path, err := rule.CanonicalPath(r.URL, g.keepSlash)
	if err != nil {
		say("request", "path "+r.URL.EscapedPath(), err.Error())
		return steps, exchange.Refuse(http.StatusBadRequest, exchange.CodeBadPath, err)
	}
	say("request", method+" "+path, "is judged")
	x.Input = rule.Input{Request: r, Method: method, Path: path}
	entries, err := g.verify(r, x, g.now(), admission{Throttle: Throttle{Failures: -1}, r: r, now: g.now()})
	g.strip(r, true)
	exchange.NeutralizeConnection(r.Header)
	if err != nil {
		for _, a := range g.main.entries {
			say("caller", "accept "+a.label, "does not recognise the caller")
		}
		say("caller", "decision", err.Error())
		return steps, refusalOf(err)
	}
	say("caller", "accept "+entries[0].label, "recognises "+x.ID)
	for _, also := range entries[1:] {
		say("caller", "also "+also.label, "holds too")
	}
	if ref := g.standby(); ref != nil {
		say("proxy", g.name, ref.Reason.Error())
		return steps, ref
	}
	x.Input.Claims, x.Input.Body = x.Claims, rule.NewBody(r, g.maxBody)
	for _, entry := range entries {
		more, ref := exchange.ExplainScope(entry.set, &x.Input, "credential "+entry.label)
		if steps = append(steps, more...); ref != nil {
			return steps, ref
		}
	}
	more, ref := exchange.ExplainScope(g.set, &x.Input, "proxy "+g.name)
	return append(steps, more...), ref
}
