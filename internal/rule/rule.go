// Package rule decides whether a request is allowed in one scope. Four scopes have rules:
// the proxy, its target, and the credentials of both sides; all four must allow. In one
// scope any matching deny denies, else any matching allow allows, else the scope's
// default decides. A rule that cannot be evaluated denies.
//
// The package imports nothing of Caddy.
package rule

import (
	"net/http"
)

// The effects of a rule and of a scope's default.
const (
	Allow = "allow"
	Deny  = "deny"
)

// Scope are the rules of one scope.
type Scope struct {
	// What holds when no rule matches: allow or deny. Default: deny if the scope has an
	// allow rule, else allow.
	Default string `json:"default,omitempty"`
	// The rules. Their order does not matter.
	Rules []Rule `json:"rules,omitempty"`
}

// Rule matches requests that fit everything it says; what it does not say fits all.
type Rule struct {
	// What a matching request gets: allow or deny.
	Effect string `json:"effect"`
	// The methods. Default: all. HEAD is not GET.
	Methods []string `json:"methods,omitempty"`
	// Path globs as in Caddy's path matcher, of which one has to fit: /exact, /prefix/*,
	// *.suffix, *part*, otherwise * within one segment. An allow compares exactly, a deny
	// in any case. Default: all.
	Paths []string `json:"paths,omitempty"`
	// A regular expression (RE2) for the path. A deny compares in any case, too.
	PathRegexp string `json:"path_regexp,omitempty"`
	// Whether the path may not fit path_regexp, instead of having to. An allow then
	// compares in any case, too.
	PathAbsent bool `json:"path_absent,omitempty"`
	// Conditions on headers.
	Headers []Check `json:"headers,omitempty"`
	// Conditions on query parameters.
	Query []Check `json:"query,omitempty"`
	// Conditions on the caller's verified claims; nested ones by dots.
	Claims []Check `json:"claims,omitempty"`
	// Conditions on a JSON or form body; names are JSONPaths (RFC 9535).
	Body []Check `json:"body,omitempty"`
	// A CEL expression as in Caddy's expression matcher.
	Expression string `json:"expression,omitempty"`
	// Why the rule exists.
	Note string `json:"note,omitempty"`
}

// Check is a condition on something with a name. Of several values an allow rule needs
// all to fit, a deny rule any; of a claim that is a list, any.
type Check struct {
	// The name of the header, parameter or claim, or the JSONPath into the body.
	Name string `json:"name,omitempty"`
	// A regular expression (RE2) that the name has to fit, instead of a name: a deny rule
	// needs any name that fits and has a value that fits, an allow rule some name that
	// fits and of which all values fit. Headers are compared in any case. Claims are
	// paths through nested objects, separated by dots. In the body the names are the
	// paths of all values, written both $.a.b[0].c and a.b[0].c; a member that is empty
	// or has one of . [ ] ' " \ or a control character in its name is ['…'].
	NamePattern string `json:"name_pattern,omitempty"`
	// A regular expression (RE2) that the value has to fit. Default: any value.
	Pattern string `json:"pattern,omitempty"`
	// Whether nothing of that name may be there (or fit the pattern).
	Absent bool `json:"absent,omitempty"`
}

// Env is what compiling needs of the host.
type Env struct {
	// Expression compiles a CEL expression.
	Expression func(src string) (func(*http.Request) (bool, error), error)
}

// Input is what a scope judges. The four scopes of a request judge the same one, one
// after the other: it keeps what was costly to compute.
type Input struct {
	// Request with its headers and query; its path and method are not looked at.
	Request *http.Request
	// Method as it goes to the upstream; a WebSocket over HTTP/2 is a GET.
	Method string
	// Path as CanonicalPath returns it. It stays as it is.
	Path string
	// Claims of the verified caller, nil if there are none.
	Claims Claims
	// Body, needed if a set NeedsBody.
	Body *Body

	folded string // Path for deny rules, once one has asked
	query  *query // likewise
}

// foldedPath is the path for deny rules.
func (in *Input) foldedPath() string {
	if in.folded == "" {
		in.folded = fold(in.Path)
	}
	return in.folded
}

// query is a request's query, taken apart.
type query struct {
	raw  string
	list []pair
	err  error
}

// parameters are the query's, or why they cannot be told. The query may change from one
// scope to the next.
func (in *Input) parameters() ([]pair, error) {
	raw := in.Request.URL.RawQuery
	if raw == "" {
		return nil, nil
	}
	if in.query == nil || in.query.raw != raw {
		list, err := parseQuery(raw)
		in.query = &query{raw, list, err}
	}
	return in.query.list, in.query.err
}

// Decision is a scope's decision.
type Decision struct {
	Allowed bool
	// Rule is the index of the rule that decided, -1 for the default.
	Rule int
	// Note of that rule.
	Note string
	// Err says why the rule could not be evaluated.
	Err error
}

// Verdict is what one rule says of a request, for explanations.
type Verdict struct {
	Rule    Rule
	Matches bool
	// Why the rule does not match: the first of its conditions that does not fit, as in
	// "headers/0: X-Env is not there or does not fit ^prod$". It has nothing of the request.
	Why string
	// Err says why the rule could not be evaluated.
	Err error
}

// Set is a compiled scope. A nil Set allows everything.
type Set struct {
	// those that look into the body come last, so that a body is not read for a request
	// that is denied without it
	rules        []compiled
	index        *index // nil if there are few
	source       []Rule
	body         bool
	defaultAllow bool
}

// NeedsBody reports whether a rule may look into the body.
func (s *Set) NeedsBody() bool { return s != nil && s.body }

// Decide judges a request.
func (s *Set) Decide(in *Input) Decision {
	if s == nil {
		return Decision{Allowed: true, Rule: -1}
	}
	d := decider{in: in, methods: methodsOf(in)}
	if s.index == nil {
		for i := range s.rules {
			if d.sees(&s.rules[i]) {
				return d.decision
			}
		}
		return d.end(s.defaultAllow)
	}
	var found candidates
	s.index.find(in, &found)
	for i := found.next(); i >= 0; i = found.next() {
		if d.sees(&s.rules[i]) {
			return d.decision
		}
	}
	return d.end(s.defaultAllow)
}

// decider asks the rules of a scope, one after the other.
type decider struct {
	in       *Input
	methods  methods
	allows   *compiled // the first that does
	decision Decision
}

// sees reports whether the decision has fallen with this rule.
func (d *decider) sees(c *compiled) bool {
	why, err := c.match(d.in, &d.methods)
	switch {
	case err != nil:
		d.decision = Decision{Rule: c.index, Note: c.note, Err: err}
		return true
	case why.part != "":
	case c.deny:
		d.decision = Decision{Rule: c.index, Note: c.note}
		return true
	case d.allows == nil:
		d.allows = c
	}
	return false
}

// end is the decision if no rule has denied.
func (d *decider) end(defaultAllow bool) Decision {
	if d.allows != nil {
		return Decision{Allowed: true, Rule: d.allows.index, Note: d.allows.note}
	}
	return Decision{Allowed: defaultAllow, Rule: -1}
}

// Explain tells what each rule says of a request, in the order of the configuration.
// Unlike Decide it does not stop at the first deny, so it may read the body.
func (s *Set) Explain(in *Input) []Verdict {
	if s == nil {
		return nil
	}
	verdicts := make([]Verdict, len(s.rules))
	methods := methodsOf(in)
	for i := range s.rules {
		c := &s.rules[i]
		r := s.source[c.index]
		why, err := c.match(in, &methods)
		verdicts[c.index] = Verdict{Rule: r, Matches: err == nil && why.part == "", Err: err}
		if err == nil {
			verdicts[c.index].Why = why.of(r)
		}
	}
	return verdicts
}
