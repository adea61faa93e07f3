package rule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	path    *pattern
	headers []check
	query   []check
	claims  []check
	body    []check
	expr    func(*http.Request) (bool, error)
}

// check is a Check made ready.
type check struct {
	name    string
	pattern *pattern // nil = any value
	absent  bool
	path    *jsonpath.Path
}

// Compile makes a scope ready. Errors say in which rule and field, as in
// rules/3/path_regexp. An empty scope compiles to nil, which allows.
func (s Scope) Compile(env Env) (*Set, error) {
	if s.Default == "" && len(s.Rules) == 0 {
		return nil, nil
	}
	set := &Set{defaultAllow: true, source: slices.Clone(s.Rules)}
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
	slices.SortStableFunc(set.rules, func(a, b compiled) int {
		return min(len(a.body), 1) - min(len(b.body), 1)
	})
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
		compile := compilePattern
		if c.deny {
			compile = compileAnyCase
		}
		if c.path, err = compile(r.PathRegexp); err != nil {
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
		if c.pattern, err = compilePattern(k.Pattern); err != nil {
			return c, err
		}
	}
	switch part {
	case "headers":
		if !isToken(k.Name) {
			return c, fmt.Errorf("%q is not a header's name", k.Name)
		}
		c.name = http.CanonicalHeaderKey(k.Name)
	case "body":
		p, err := ParseJSONPath(k.Name)
		if err != nil {
			return c, err
		}
		c.path = p.path
	}
	return c, nil
}

// isToken reports whether s can be a field name (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
