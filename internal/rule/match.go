package rule

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// methods are the bits of a request's method, as allow and as deny rules compare it.
type methods struct{ exact, anyCase uint64 }

func methodsOf(in *Input) methods { return methods{bit(in.Method), anyCaseBit(in.Method)} }

// miss is the first condition of a rule that a request does not fit. Its zero value says
// that the rule matches.
type miss struct {
	part string // the JSON name of the field
	at   int    // the index, if the field is a list of checks
}

// match compares a request with a rule, what is cheap first. An error means that the rule
// cannot be evaluated.
func (c *compiled) match(in *Input, m *methods) (miss, error) {
	method := m.exact
	if c.deny {
		method = m.anyCase
	}
	switch {
	case c.methods != 0 && c.methods&method == 0:
		return miss{part: "methods"}, nil
	case !c.matchGlobs(in):
		return miss{part: "paths"}, nil
	case !c.path.fitsPath(in):
		return miss{part: "path_regexp"}, nil
	}
	if i := c.missingHeader(in.Request); i >= 0 {
		return miss{"headers", i}, nil
	}
	if len(c.claims) > 0 {
		if i := c.missingClaim(AllOf(in.Claims)); i >= 0 {
			return miss{"claims", i}, nil
		}
	}
	return c.matchCostly(in)
}

// matchCostly compares what can fail to be evaluated.
func (c *compiled) matchCostly(in *Input) (miss, error) {
	if len(c.query) > 0 {
		if i, err := c.missingParameter(in); i >= 0 || err != nil {
			return miss{"query", i}, err
		}
	}
	if c.expr != nil {
		ok, err := c.expr(in.Request)
		if err != nil {
			return miss{}, fmt.Errorf("expression: %w", err)
		}
		if !ok {
			return miss{part: "expression"}, nil
		}
	}
	if len(c.body) > 0 {
		if i, err := c.missingNode(in.Body); i >= 0 || err != nil {
			return miss{"body", i}, err
		}
	}
	if c.named != nil {
		return c.missingNamed(in)
	}
	return miss{}, nil
}

func (c *compiled) matchGlobs(in *Input) bool {
	if len(c.globs) == 0 {
		return true
	}
	p := in.Path
	if c.deny {
		p = in.foldedPath()
	}
	for i := range c.globs {
		if c.globs[i].match(p, in.Path) {
			return true
		}
	}
	return false
}

// holds judges n values of one name, of which some fit.
func (k *check) holds(n, fits int, deny bool) bool {
	switch {
	case k.absent:
		return fits == 0
	case deny:
		return fits > 0
	}
	return n > 0 && fits == n
}

// missingHeader returns the index of the first check that does not hold, or -1.
func (c *compiled) missingHeader(r *http.Request) int {
	for i := range c.headers {
		k := &c.headers[i]
		var host [1]string
		values := r.Header[k.name]
		switch k.name { // net/http keeps these elsewhere
		case "Host":
			host[0] = r.Host
			values = host[:]
		case "Transfer-Encoding":
			values = r.TransferEncoding
		}
		fits := 0
		for _, v := range values {
			if k.pattern.fits(v) {
				fits++
			}
		}
		if !k.holds(len(values), fits, c.deny) {
			return i
		}
	}
	return -1
}

// missingClaim is missingHeader for claims.
func (c *compiled) missingClaim(claims map[string]any) int {
	for i := range c.claims {
		k := &c.claims[i]
		v, ok := Claim(claims, k.name)
		if ok = ok && anyFits(k.pattern, v); ok == k.absent {
			return i
		}
	}
	return -1
}

// missingParameter is missingHeader for the query.
func (c *compiled) missingParameter(in *Input) (int, error) {
	list, err := in.parameters()
	if err != nil {
		return 0, err
	}
	for i := range c.query {
		k := &c.query[i]
		n, fits := 0, 0
		for j := range list {
			if list[j].name != k.name {
				continue
			}
			n++
			if k.pattern.fits(list[j].value) {
				fits++
			}
		}
		if !k.holds(n, fits, c.deny) {
			return i, nil
		}
	}
	return -1, nil
}

var errNoBody = errors.New("body: there is none to look into")

// missingNode is missingHeader for the body.
func (c *compiled) missingNode(b *Body) (int, error) {
	if b == nil {
		return 0, errNoBody
	}
	for i := range c.body {
		k := &c.body[i]
		nodes, err := b.nodes(k.name, k.path)
		if err != nil {
			return 0, fmt.Errorf("body: %w", err)
		}
		fits := 0
		var read compared
		for _, node := range nodes {
			// fitting speaks against the request in a deny, and in an absent of an allow
			ok, err := read.fits(k.pattern, node, c.deny != k.absent)
			if err != nil {
				return 0, fmt.Errorf("body: %w", err)
			}
			if ok {
				fits++
			}
		}
		if !k.holds(len(nodes), fits, c.deny) {
			return i, nil
		}
	}
	return -1, nil
}

// of says in words why rule r does not match, "" if it does.
func (m miss) of(r Rule) string {
	switch m.part {
	case "":
		return ""
	case "methods":
		return "methods: the method is not " + strings.Join(r.Methods, " or ")
	case "paths":
		return "paths: the path does not fit " + strings.Join(r.Paths, " or ")
	case "path_regexp":
		if r.PathAbsent {
			return "path_regexp: the path fits " + r.PathRegexp
		}
		return "path_regexp: the path does not fit " + r.PathRegexp
	case "expression":
		return "expression: it does not hold"
	}
	k := map[string][]Check{"headers": r.Headers, "query": r.Query, "claims": r.Claims, "body": r.Body}[m.part][m.at]
	what := " is not there"
	switch {
	case k.Absent && k.Pattern == "":
		what = " is there"
	case k.Absent:
		what = " fits " + k.Pattern
	case k.Pattern != "":
		what = " is not there or does not fit " + k.Pattern
	}
	name := k.Name
	if k.NamePattern != "" {
		name = "what fits " + k.NamePattern
	}
	return fmt.Sprintf("%s/%d: %s%s", m.part, m.at, name, what)
}
