package rule

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/theory/jsonpath"
)

// compiled is a rule made ready.
type compiled struct {
	index   int
	deny    bool
	note    string
	methods uint64 // 0 = all
	globs   []glob
	path    *regexp.Regexp
	headers []check
	query   []check
	claims  []check
	body    []check
	expr    func(*http.Request) (bool, error)
}

// check is a Check made ready.
type check struct {
	name    string
	pattern *regexp.Regexp // nil = any value
	absent  bool
	path    *jsonpath.Path
}

// Compile makes a scope ready. Errors say in which rule and field, as in
// rules/3/path_regexp. An empty scope compiles to nil, which allows.
func (s Scope) Compile(env Env) (*Set, error) {
	if s.Default == "" && len(s.Rules) == 0 {
		return nil, nil
	}
	set := &Set{defaultAllow: true, source: s.Rules}
	for i, r := range s.Rules {
		c, err := r.compile(env)
		if err != nil {
			return nil, fmt.Errorf("rules/%d/%w", i, err)
		}
		c.index = i
		set.rules = append(set.rules, c)
		set.body = set.body || len(c.body) > 0
		set.defaultAllow = set.defaultAllow && c.deny
	}
	switch s.Default {
	case "":
	case Allow, Deny:
		set.defaultAllow = s.Default == Allow
	default:
		return nil, fmt.Errorf("default: it is allow or deny, not %q", s.Default)
	}
	return set, nil
}

func (r Rule) compile(env Env) (c compiled, err error) {
	switch r.Effect {
	case Allow, Deny:
		c.deny = r.Effect == Deny
	default:
		return c, fmt.Errorf("effect: it is allow or deny, not %q", r.Effect)
	}
	c.note = r.Note
	if c.methods, err = methodMask(r.Methods); err != nil {
		return c, fmt.Errorf("methods: %w", err)
	}
	for i, p := range r.Paths {
		g, err := compileGlob(p, c.deny)
		if err != nil {
			return c, fmt.Errorf("paths/%d: %w", i, err)
		}
		c.globs = append(c.globs, g)
	}
	if r.PathRegexp != "" {
		if c.path, err = compileRegexp(r.PathRegexp, c.deny); err != nil {
			return c, fmt.Errorf("path_regexp: %w", err)
		}
	}
	if err := c.compileChecks(r); err != nil {
		return c, err
	}
	if r.Expression != "" {
		if env.Expression == nil {
			return c, errors.New("expression: expressions are not available here")
		}
		if c.expr, err = env.Expression(r.Expression); err != nil {
			return c, fmt.Errorf("expression: %w", err)
		}
	}
	return c, nil
}

func (c *compiled) compileChecks(r Rule) error {
	for _, part := range []struct {
		name string
		from []Check
		to   *[]check
	}{
		{"headers", r.Headers, &c.headers}, {"query", r.Query, &c.query},
		{"claims", r.Claims, &c.claims}, {"body", r.Body, &c.body},
	} {
		for i, from := range part.from {
			to, err := from.compile(part.name)
			if err != nil {
				return fmt.Errorf("%s/%d: %w", part.name, i, err)
			}
			*part.to = append(*part.to, to)
		}
	}
	return nil
}

func (k Check) compile(part string) (check, error) {
	c := check{name: k.Name, absent: k.Absent}
	if k.Name == "" {
		return c, errors.New("the name is missing")
	}
	var err error
	if k.Pattern != "" {
		if c.pattern, err = compileRegexp(k.Pattern, false); err != nil {
			return c, err
		}
	}
	switch part {
	case "headers":
		c.name = http.CanonicalHeaderKey(k.Name)
	case "body":
		if c.path, err = jsonpath.Parse(k.Name); err != nil {
			return c, fmt.Errorf("%q is not a JSONPath such as $.amount (RFC 9535): %w", k.Name, err)
		}
	}
	return c, nil
}

// compileRegexp compiles an RE2 pattern and explains what other dialects have and RE2
// has not.
func compileRegexp(pattern string, anyCase bool) (*regexp.Regexp, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, dialect(pattern))
	}
	if anyCase {
		return regexp.Compile("(?i:" + pattern + ")")
	}
	return re, nil
}

var backReference = regexp.MustCompile(`\\[1-9]|\\k<`)

func dialect(pattern string) string {
	for _, look := range []string{"(?=", "(?!", "(?<=", "(?<!"} {
		if strings.Contains(pattern, look) {
			return "; look-around (" + look + "…) is JavaScript's and Perl's, patterns here are RE2: say it with a second rule"
		}
	}
	if backReference.MatchString(pattern) {
		return "; back-references are JavaScript's and Perl's, patterns here are RE2"
	}
	return ""
}

// known are the methods of the IANA registry, in the order of their bits.
var known = strings.Fields(`GET HEAD POST PUT PATCH DELETE OPTIONS QUERY CONNECT TRACE ACL BASELINE-CONTROL BIND
	CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH
	PRI PROPFIND PROPPATCH REBIND REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL`)

var methodBits = func() map[string]uint64 {
	m := make(map[string]uint64, len(known))
	for i, name := range known {
		m[name] = 1 << i
	}
	return m
}()

// bit returns a method's bit, 0 if it is unknown.
func bit(method string) uint64 {
	switch method { // the usual ones without hashing
	case "GET":
		return 1
	case "POST":
		return 4
	}
	return methodBits[method]
}

func methodMask(methods []string) (mask uint64, err error) {
	for _, m := range methods {
		if m == "*" {
			return 0, nil
		}
		b := methodBits[m]
		if b == 0 {
			if methodBits[strings.ToUpper(m)] != 0 {
				return 0, fmt.Errorf("%q is written %s: methods are in capitals", m, strings.ToUpper(m))
			}
			return 0, fmt.Errorf("%q is not a registered HTTP method; such requests match only rules for all methods", m)
		}
		mask |= b
	}
	return mask, nil
}
