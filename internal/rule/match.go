package rule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// state is one Decide's view of the input; what is costly is computed once, if at all.
type state struct {
	in       *Input
	folded   string // path for deny rules
	method   uint64
	prepared bool
	query    []pair
	parsed   bool
	queryErr error
}

type pair struct{ name, value string }

func (st *state) prepare() {
	if st.prepared {
		return
	}
	st.prepared = true
	st.method, st.folded = bit(st.in.Method), fold(st.in.Path)
}

// match reports whether the rule fits. An error means that it cannot be evaluated.
func (c *compiled) match(st *state) (bool, error) {
	st.prepare()
	if c.methods != 0 {
		m := st.method
		if m == 0 && c.deny {
			m = bit(strings.ToUpper(st.in.Method))
		}
		if c.methods&m == 0 {
			return false, nil
		}
	}
	if !c.matchPath(st) || !c.matchHeaders(st.in.Request) || !c.matchClaims(st.in.Claims) {
		return false, nil
	}
	if len(c.query) > 0 {
		if ok, err := c.matchQuery(st); !ok || err != nil {
			return false, err
		}
	}
	if c.expr != nil {
		ok, err := c.expr(st.in.Request)
		if err != nil {
			return false, fmt.Errorf("expression: %w", err)
		}
		if !ok {
			return false, nil
		}
	}
	if len(c.body) > 0 {
		return c.matchBody(st)
	}
	return true, nil
}

func (c *compiled) matchPath(st *state) bool {
	if len(c.globs) > 0 {
		p, ok := st.in.Path, false
		if c.deny {
			p = st.folded
		}
		for i := range c.globs {
			if ok = c.globs[i].match(p); ok {
				break
			}
		}
		if !ok {
			return false
		}
	}
	return c.path == nil || c.path.MatchString(st.in.Path)
}

// values judges the values of one name: present or absent, and the pattern.
func (k *check) values(n int, at func(int) string, deny bool) bool {
	fits := 0
	for i := range n {
		if k.pattern == nil || k.pattern.MatchString(at(i)) {
			fits++
		}
	}
	switch {
	case k.absent:
		return fits == 0
	case deny:
		return fits > 0
	}
	return n > 0 && fits == n
}

func (c *compiled) matchHeaders(r *http.Request) bool {
	for i := range c.headers {
		k := &c.headers[i]
		vals := r.Header[k.name]
		if k.name == "Host" {
			vals = []string{r.Host}
		}
		if !k.values(len(vals), func(i int) string { return vals[i] }, c.deny) {
			return false
		}
	}
	return true
}

func (c *compiled) matchQuery(st *state) (bool, error) {
	if !st.parsed {
		st.parsed = true
		st.query, st.queryErr = parseQuery(st.in.Request.URL.RawQuery)
	}
	if st.queryErr != nil {
		return false, st.queryErr
	}
	for i := range c.query {
		k := &c.query[i]
		var vals []string
		for _, p := range st.query {
			if p.name == k.name {
				vals = append(vals, p.value)
			}
		}
		if !k.values(len(vals), func(i int) string { return vals[i] }, c.deny) {
			return false, nil
		}
	}
	return true, nil
}

// parseQuery splits at & alone; what cannot be decoded is an error, since nobody knows
// what the upstream would make of it.
func parseQuery(raw string) ([]pair, error) {
	var list []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return nil, errors.New("the query cannot be decoded")
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return nil, errors.New("the query cannot be decoded")
		}
		list = append(list, pair{n, v})
	}
	return list, nil
}

func (c *compiled) matchClaims(claims map[string]any) bool {
	for i := range c.claims {
		k := &c.claims[i]
		v, ok := Claim(claims, k.name)
		fits := ok && anyValue(v, func(s string) bool { return k.pattern == nil || k.pattern.MatchString(s) })
		if fits == k.absent {
			return false
		}
	}
	return true
}

// anyValue reports whether a value, or an element of a list, fits. An empty list is there
// but fits nothing.
func anyValue(v any, fits func(string) bool) bool {
	list, ok := v.([]any)
	if !ok {
		return fits(Text(v))
	}
	for _, x := range list {
		if fits(Text(x)) {
			return true
		}
	}
	return false
}

func (c *compiled) matchBody(st *state) (bool, error) {
	if st.in.Body == nil {
		return false, errors.New("body: there is none to look into")
	}
	doc, err := st.in.Body.document()
	if err != nil {
		return false, fmt.Errorf("body: %w", err)
	}
	for i := range c.body {
		k := &c.body[i]
		nodes := k.path.Select(doc)
		fits := 0
		for _, n := range nodes {
			if k.pattern == nil || matchNode(k.pattern, n, c.deny) {
				fits++
			}
		}
		ok := fits > 0
		switch {
		case k.absent:
			ok = fits == 0
		case !c.deny:
			ok = fits > 0 && fits == len(nodes)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// matchNode compares a number both as it is written and in plain decimal: 1e3 and 1000
// are the same to the upstream.
func matchNode(re *regexp.Regexp, n any, deny bool) bool {
	num, ok := n.(json.Number)
	if !ok {
		return re.MatchString(Text(n))
	}
	written, plain := re.MatchString(num.String()), re.MatchString(Text(num))
	if deny {
		return written || plain
	}
	return written && plain
}

// Claim returns a claim. The name is tried as it is, then as a path through nested
// objects, separated by dots.
func Claim(claims map[string]any, name string) (any, bool) {
	if v, ok := claims[name]; ok {
		return v, true
	}
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		if inner, ok := claims[name[:i]].(map[string]any); ok {
			if v, ok := Claim(inner, name[i+1:]); ok {
				return v, true
			}
		}
	}
	return nil, false
}

// Text is a JSON value as text: strings as they are, numbers in plain decimal, lists and
// objects as compact JSON.
func Text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return decimal(v.String())
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case nil:
		return "null"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// maxExponent bounds how long a number gets when it is written out.
const maxExponent = 400

// decimal writes a JSON number without exponent, leading or trailing zeros. Numbers with
// a huge exponent stay as they are.
func decimal(s string) string {
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(s), "e")
	exp := 0
	if hasExponent {
		var err error
		if exp, err = strconv.Atoi(exponent); err != nil || exp > maxExponent || exp < -maxExponent {
			return s
		}
	}
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits, point := whole+fraction, len(whole)+exp
	for point <= 0 {
		digits, point = "0"+digits, point+1
	}
	if n := point - len(digits); n > 0 {
		digits += strings.Repeat("0", n)
	}
	whole = strings.TrimLeft(digits[:point], "0")
	fraction = strings.TrimRight(digits[point:], "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative && whole != "0" {
		whole = "-" + whole
	}
	return whole
}
