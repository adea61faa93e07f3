package rr

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// parseRule reads a rule. Syntax:
//
//	allow|deny [<METHOD>,...|*] [<path glob>...] {
//		path_regexp <pattern>
//		header|query|claim|body <name> [<pattern>]
//		present     header|query|claim|body <name>
//		absent      header|query|claim|body <name>
//		expression  <CEL expression>
//		note        <text>
//	}
func parseRule(d *caddyfile.Dispenser, s *rule.Scope) error {
	r := rule.Rule{Effect: d.Val()}
	for first := true; d.NextArg(); first = false {
		arg := d.Val()
		switch {
		case first && (arg == "*" || isMethods(arg)):
			if arg != "*" {
				r.Methods = strings.Split(arg, ",")
			}
		case strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "*"):
			r.Paths = append(r.Paths, arg)
		default:
			return d.Errf("%q is neither methods (in capitals, as in GET,POST, before any path) nor a path (which begins with / or *)", arg)
		}
		if err := check(d, r); err != nil {
			return err
		}
	}
	for n := d.Nesting(); d.NextBlock(n); {
		if err := parseRuleOption(d, &r); err != nil {
			return err
		}
	}
	s.Rules = append(s.Rules, r)
	return nil
}

func isMethods(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ,-") == "" && s[0] != ',' && s[0] != '-'
}

func parseRuleOption(d *caddyfile.Dispenser, r *rule.Rule) error {
	word := d.Val()
	switch word {
	case "path_regexp":
		if err := once(d, &r.PathRegexp); err != nil {
			return err
		}
	case "header", "query", "claim", "body":
		if err := parseCheck(d, r, word, false); err != nil {
			return err
		}
	case "present", "absent":
		if !d.NextArg() {
			return d.Errf("%s needs header, query, claim or body and a name", word)
		}
		what := d.Val()
		args := d.CountRemainingArgs()
		if args != 1 {
			return d.Errf("%s %s needs exactly one name", word, what)
		}
		if err := parseCheck(d, r, what, word == "absent"); err != nil {
			return err
		}
	case "expression":
		if r.Expression != "" {
			return d.Err("expression is said twice; join the two with &&")
		}
		r.Expression = expandShorthand(d, d.RemainingArgsRaw())
		if r.Expression == "" {
			return d.Err("expression needs a CEL expression")
		}
	case "note":
		return once(d, &r.Note)
	default:
		return d.Errf("unrecognized option %q of a rule; there are: path_regexp, header, query, claim, body, present, absent, expression, note", word)
	}
	return check(d, *r)
}

func parseCheck(d *caddyfile.Dispenser, r *rule.Rule, what string, absent bool) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return d.Errf("%s needs a name and a pattern, or a name alone if it only has to be there", what)
	}
	c := rule.Check{Name: args[0], Absent: absent}
	if len(args) == 2 {
		c.Pattern = args[1]
	}
	switch what {
	case "header":
		r.Headers = append(r.Headers, c)
	case "query":
		r.Query = append(r.Query, c)
	case "claim":
		r.Claims = append(r.Claims, c)
	case "body":
		r.Body = append(r.Body, c)
	default:
		return d.Errf("%q is none of header, query, claim, body", what)
	}
	return nil
}

// expandShorthand joins the words of an expression. Caddy expands shorthand placeholders
// such as {method} in site blocks only; in the global block they would silently mean
// nothing.
func expandShorthand(d *caddyfile.Dispenser, args []string) string {
	token := d.Token()
	if len(args) == 1 {
		token.Text = strings.Trim(args[0], "`")
	} else {
		token.Text = strings.Join(args, " ")
	}
	seg := caddyfile.Segment{token}
	httpcaddyfile.NewShorthandReplacer().ApplyToSegment(&seg)
	return seg[0].Text
}

// check compiles what is known of a rule, so that a mistake is reported where it stands.
// Expressions are compiled when the configuration loads.
func check(d *caddyfile.Dispenser, r rule.Rule) error {
	never := func(string) (func(*http.Request) (bool, error), error) {
		return func(*http.Request) (bool, error) { return false, nil }, nil
	}
	if _, err := (rule.Scope{Rules: []rule.Rule{r}}).Compile(rule.Env{Expression: never}); err != nil {
		// the place is the line; that it is the first rule of a scope made for the
		// check is no news
		return d.Err(strings.TrimPrefix(err.Error(), "rules/0/"))
	}
	return nil
}
