package wire

import (
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// ruleReader reads a rule in any of its shapes: the original's documentation (A: pathPattern,
// headerChecks), its sample (A′: path with a pattern), its other pages (B: patterns in
// objects) and rr's own configuration.
type ruleReader struct {
	*reader
	object map[string]any
	flags  string // for all patterns that have none of their own
}

// ruleMembers are the members of a rule, by what they say. The first is the one that
// answers have.
var ruleMembers = map[string][]string{
	"effect": {"effect"}, "priority": {"priority"}, "methods": {"methods"},
	"path": {"path", "pathPattern", "path_regexp", "pathRegexp"}, "presence": {"pathPresence", "path_absent", "pathAbsent"},
	"paths": {"paths"}, "notes": {"notes", "note"}, "flags": {"regexFlags", "flags"},
	"headers": {"headers", "headerChecks"}, "query": {"query", "queries", "queryChecks"},
	"body": {"body", "bodyChecks"}, "claims": {"token", "claims", "tokenChecks", "claimChecks"},
	"expression": {"expression"},
}

// ruleIgnored are members of answers that mean nothing in a body.
var ruleIgnored = []string{"ruleId", "pKey", "sKey", "userId", "clientId", "parentId", "declared", "ruleCreatedAt", "ruleUpdatedAt"}

func newRuleReader(r *reader, object map[string]any) *ruleReader {
	d := &ruleReader{reader: r, object: object}
	var known []string
	for _, part := range sortedKeys(ruleMembers) {
		known = append(known, ruleMembers[part]...)
	}
	for _, name := range sortedKeys(object) {
		if !slices.Contains(known, name) && !slices.Contains(ruleIgnored, name) {
			r.unknown("", name, known)
		}
	}
	if v, at := d.member("flags"); v != nil {
		d.flags, _ = d.readFlags(v, at)
	}
	return d
}

// member is what is said of a part, under any of its names, and where; nil if nothing is.
func (d *ruleReader) member(part string) (value any, at string) {
	for _, name := range ruleMembers[part] {
		v, there := d.object[name]
		switch {
		case !there || v == nil:
		case value != nil:
			d.fault(pointer("", name), "it says the same as %s; say one of them", at)
		default:
			value, at = v, pointer("", name)
		}
	}
	if value == nil {
		at = pointer("", ruleMembers[part][0])
	}
	return value, at
}

// rule reads all that decides.
func (d *ruleReader) rule() (made rule.Rule) {
	v, at := d.member("effect")
	if made.Effect, _ = v.(string); made.Effect != rule.Allow && made.Effect != rule.Deny {
		d.fault(at, "it has to be allow or deny")
	}
	made.Methods = d.texts("methods", func(m string) rule.Rule { return rule.Rule{Methods: []string{m}} })
	made.Paths = d.texts("paths", func(p string) rule.Rule { return rule.Rule{Paths: []string{p}} })
	made.PathRegexp, made.PathAbsent = d.path()
	made.Headers, made.Query = d.checks("headers"), d.checks("query")
	made.Claims, made.Body = d.checks("claims"), d.checks("body")
	if v, at := d.member("notes"); v != nil {
		made.Note, _ = d.asText(v, at)
		if n := utf8.RuneCountInString(made.Note); n > MaxNote {
			d.fault(at, "it has %d characters, at most %d are taken", n, MaxNote)
		}
	}
	if v, at := d.member("expression"); v != nil {
		d.fault(at, "expressions could read the gateway's environment and files, so only a configuration has them; say it with methods, path, headers, query, token and body")
	}
	d.whole(made)
	return made
}

// maxRule bounds one rule, in bytes of JSON.
const maxRule = 32 << 10

// whole judges the rule that its parts make.
func (d *ruleReader) whole(made rule.Rule) {
	if len(d.faults) > 0 {
		return
	}
	if b, err := json.Marshal(made); err != nil || len(b) > maxRule {
		d.fault("", "it has more than the %d bytes that a rule may have", maxRule)
		return
	}
	if _, err := (rule.Scope{Rules: []rule.Rule{made}}).Compile(rule.Env{}); err != nil {
		d.fault("", "%v", err)
	}
}

func (d *ruleReader) priority() int {
	v, at := d.member("priority")
	if v == nil {
		return 0
	}
	n, ok := v.(json.Number)
	i, err := n.Int64()
	if !ok || err != nil || i < 0 || i > MaxPriority {
		d.fault(at, "it has to be a whole number from 0 to %d", MaxPriority)
		return 0
	}
	return int(i)
}

// texts reads a list of texts, and judges each in a rule that has nothing else.
func (d *ruleReader) texts(part string, alone func(string) rule.Rule) []string {
	v, at := d.member(part)
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if one, isText := v.(string); isText {
		list, ok = []any{one}, true
	}
	switch {
	case !ok:
		d.wrongType(at, v, "a list of texts")
		return nil
	case len(list) > MaxPaths:
		d.fault(at, "it has %d elements, at most %d are taken", len(list), MaxPaths)
		return nil
	}
	var all []string
	for i, x := range list {
		place := pointer(at, i)
		text, ok := d.asText(x, place)
		if !ok {
			continue
		}
		if len(text) > MaxPattern {
			d.fault(place, "it has %d bytes, at most %d are taken", len(text), MaxPattern)
			continue
		}
		d.try(alone(text), place)
		all = append(all, text)
	}
	return all
}

// try reports what the rule engine says of a part of a rule.
func (d *ruleReader) try(alone rule.Rule, at string) {
	alone.Effect = rule.Allow
	_, err := rule.Scope{Rules: []rule.Rule{alone}}.Compile(rule.Env{})
	if fault := (*rule.FieldError)(nil); errors.As(err, &fault) {
		d.fault(at, "%v", fault.Err)
	}
}

// path reads the pattern for the path in all its forms: a text, a pattern with its
// presence, or a pattern in a pattern's place.
func (d *ruleReader) path() (source string, absent bool) {
	presence, presenceAt := d.member("presence")
	v, at := d.member("path")
	object, _ := v.(map[string]any)
	d.onlyKnown(object, at, "path", "pattern", "flags", "presence")
	if p := object["presence"]; p != nil {
		if presence != nil {
			d.fault(pointer(at, "presence"), "it says the same as %s; say one of them", presenceAt)
		}
		presence, presenceAt = p, pointer(at, "presence")
	}
	absent = d.presence(presence, presenceAt)
	if inner, there := object["path"]; there {
		if object["pattern"] != nil {
			d.fault(pointer(at, "pattern"), "it says the same as path beside it; say one of them")
		}
		v, at = inner, pointer(at, "path")
		inner, _ := v.(map[string]any)
		d.onlyKnown(inner, at, "pattern", "flags")
	}
	if v != nil {
		source = d.pattern(v, at, d.flags)
	}
	if source == "" && absent && len(d.faults) == 0 {
		d.fault(presenceAt, "there is no pattern that the path may not fit")
	}
	return source, absent && source != ""
}

// presence reads whether something may not be there.
func (d *ruleReader) presence(v any, at string) (absent bool) {
	switch v {
	case nil, any("present"), any("must_exist"), any(false):
		return false
	case any("absent"), any("must_not_exist"), any(true):
		return true
	}
	d.fault(at, "it has to be must_exist or must_not_exist (or present, absent)")
	return false
}

// onlyKnown reports members that are not known.
func (d *ruleReader) onlyKnown(object map[string]any, at string, known ...string) {
	for _, name := range sortedKeys(object) {
		if !slices.Contains(known, name) {
			d.unknown(at, name, known)
		}
	}
}
