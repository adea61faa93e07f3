package rule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
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
	named   []namedCheck // the checks that have patterns for names
}

// check is a Check made ready.
type check struct {
	name    string
	pattern *pattern // nil = any value
	absent  bool
	path    *JSONPath
}

// FieldError is what is wrong with a field of a rule.
type FieldError struct {
	// Field is the field's place, as in rules/3/headers/0 or rules/3/path_regexp. Of a
	// scope it may be default.
	Field string
	// Part is the part of a check that is meant: name, name_pattern, pattern, or empty.
	Part string
	Err  error
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// in is the error with its place within something.
func (e *FieldError) in(format string, args ...any) *FieldError {
	e.Field = strings.TrimSuffix(fmt.Sprintf(format, args...)+"/"+e.Field, "/")
	return e
}

// at is an error of a field.
func at(field string, err error) *FieldError { return &FieldError{Field: field, Err: err} }

// Compile makes a scope ready. Errors are *FieldError and say in which rule and field, as
// in rules/3/path_regexp. An empty scope compiles to nil, which allows.
func (s Scope) Compile(env Env) (*Set, error) {
	if s.Default == "" && len(s.Rules) == 0 {
		return nil, nil
	}
	set := &Set{defaultAllow: true, source: slices.Clone(s.Rules)}
	for i, r := range s.Rules {
		c, err := r.compile(env)
		if err != nil {
			return nil, err.in("rules/%d", i)
		}
		c.index = i
		set.rules = append(set.rules, c)
		set.body = set.body || c.readsBody() > 0
		set.defaultAllow = set.defaultAllow && c.deny
	}
	slices.SortStableFunc(set.rules, func(a, b compiled) int {
		return a.readsBody() - b.readsBody()
	})
	set.index = newIndex(set.rules)
	switch s.Default {
	case "":
	case Allow, Deny:
		set.defaultAllow = s.Default == Allow
	default:
		return nil, at("default", fmt.Errorf("it is allow or deny, not %q", s.Default))
	}
	return set, nil
}

func (r Rule) compile(env Env) (c compiled, fault *FieldError) {
	switch r.Effect {
	case Allow, Deny:
		c.deny = r.Effect == Deny
	default:
		return c, at("effect", fmt.Errorf("it is allow or deny, not %q", r.Effect))
	}
	c.note = r.Note
	var err error
	if c.methods, err = methodMask(r.Methods); err != nil {
		return c, at("methods", err)
	}
	if fault := c.compilePath(r); fault != nil {
		return c, fault
	}
	if fault := c.compileChecks(r); fault != nil {
		return c, fault
	}
	if r.Expression != "" {
		if env.Expression == nil {
			return c, at("expression", errors.New("expressions are not available here"))
		}
		if c.expr, err = env.Expression(r.Expression); err != nil {
			return c, at("expression", err)
		}
	}
	return c, nil
}

func (c *compiled) compilePath(r Rule) *FieldError {
	for i, p := range r.Paths {
		g, err := compileGlob(p, c.deny)
		if err != nil {
			return at(fmt.Sprintf("paths/%d", i), err)
		}
		c.globs = append(c.globs, g)
	}
	var err error
	switch {
	case r.PathRegexp == "" && r.PathAbsent:
		return at("path_absent", errors.New("there is no path_regexp that the path could not fit"))
	case r.PathRegexp == "":
		return nil
	case r.PathAbsent: // an allow lets fewer pass the more that is named fits
		c.path, err = compileNegated(r.PathRegexp, !c.deny)
	case c.deny:
		c.path, err = compileAnyCase(r.PathRegexp)
	default:
		c.path, err = compilePattern(r.PathRegexp)
	}
	if err != nil {
		return at("path_regexp", err)
	}
	return nil
}

func (c *compiled) compileChecks(r Rule) *FieldError {
	for _, part := range []struct {
		name string
		from []Check
		to   *[]check
	}{
		{"headers", r.Headers, &c.headers}, {"query", r.Query, &c.query},
		{"claims", r.Claims, &c.claims}, {"body", r.Body, &c.body},
	} {
		for i, from := range part.from {
			to, names, fault := from.compile(part.name)
			switch {
			case fault != nil:
				return fault.in("%s/%d", part.name, i)
			case names != nil:
				c.named = append(c.named, namedCheck{part.name, i, names, to})
			default:
				*part.to = append(*part.to, to)
			}
		}
	}
	return nil
}

// readsBody is 1 if the rule looks into the body, else 0.
func (c *compiled) readsBody() int {
	if len(c.body) > 0 || slices.ContainsFunc(c.named, func(k namedCheck) bool { return k.part == "body" }) {
		return 1
	}
	return 0
}

// compile makes a check ready; names is set if it has a pattern for names.
func (k Check) compile(part string) (c check, names *pattern, fault *FieldError) {
	c = check{name: k.Name, absent: k.Absent}
	var err error
	if k.Pattern != "" {
		if c.pattern, err = compilePattern(k.Pattern); err != nil {
			return c, nil, &FieldError{Part: "pattern", Err: err}
		}
	}
	switch {
	case k.NamePattern != "" && k.Name != "":
		return c, nil, &FieldError{Part: "name_pattern", Err: errors.New("name and name_pattern exclude each other")}
	case k.NamePattern != "":
		compile := compilePattern
		if part == "headers" {
			compile = compileAnyCase
		}
		if names, err = compile(k.NamePattern); err != nil {
			return c, nil, &FieldError{Part: "name_pattern", Err: err}
		}
		return c, names, nil
	case k.Name == "":
		return c, nil, &FieldError{Part: "name", Err: errors.New("the name is missing")}
	}
	return c, nil, c.compileName(part)
}

// compileName checks a name.
func (k *check) compileName(part string) *FieldError {
	switch part {
	case "headers":
		if !isToken(k.name) {
			return &FieldError{Part: "name", Err: fmt.Errorf("%q is not a header's name", k.name)}
		}
		k.name = http.CanonicalHeaderKey(k.name)
	case "body":
		p, err := ParseJSONPath(k.name)
		if err != nil {
			return &FieldError{Part: "name", Err: err}
		}
		k.path = p
	}
	return nil
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
