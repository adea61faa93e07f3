package wire

import (
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// checkMembers are the members of a condition, by the part of the rule that it is in. Each
// says which name or value is meant.
var checkMembers = map[string]struct{ name, namePattern, value []string }{
	"headers": {[]string{"name"}, []string{"namePattern", "name_pattern"}, []string{"value", "valuePattern", "pattern"}},
	"query":   {[]string{"name"}, []string{"namePattern", "name_pattern"}, []string{"value", "valuePattern", "pattern"}},
	"claims":  {[]string{"claim", "name"}, []string{"claimPattern", "namePattern", "name_pattern"}, []string{"value", "matchValue", "valuePattern", "pattern"}},
	"body":    {[]string{"jsonPath", "name"}, []string{"jsonPathPattern", "namePattern", "name_pattern"}, []string{"matchValue", "value", "valuePattern", "pattern"}},
}

// checks reads the conditions of a part.
func (d *ruleReader) checks(part string) []rule.Check {
	v, at := d.member(part)
	if v == nil {
		return nil
	}
	list, ok := d.asList(v, at)
	if !ok {
		return nil
	}
	if len(list) > MaxChecks {
		d.fault(at, "it has %d elements, at most %d are taken", len(list), MaxChecks)
		return nil
	}
	var all []rule.Check
	for i, x := range list {
		if object, ok := d.asObject(x, pointer(at, i)); ok {
			all = append(all, d.check(part, object, pointer(at, i)))
		}
	}
	return all
}

// check reads one condition.
func (d *ruleReader) check(part string, object map[string]any, at string) (k rule.Check) {
	members := checkMembers[part]
	known := slices.Concat(members.name, members.namePattern, members.value, []string{"presence", "absent", "flags"})
	d.onlyKnown(object, at, known...)
	flags := d.flags
	if f := object["flags"]; f != nil {
		flags, _ = d.readFlags(f, pointer(at, "flags"))
	}
	presence, presenceAt := d.oneOf(object, at, []string{"presence", "absent"})
	k.Absent = d.presence(presence, presenceAt)

	name, nameAt := d.oneOf(object, at, members.name)
	pattern, patternAt := d.oneOf(object, at, members.namePattern)
	switch text, isText := name.(string); {
	case name != nil && pattern != nil:
		d.fault(patternAt, "it says the same as %s; say one of them", nameAt)
	case isText:
		k.Name = d.name(part, text, nameAt)
	case name != nil:
		k.Name, k.NamePattern = d.namePattern(part, name, nameAt, flags)
	case pattern != nil:
		k.Name, k.NamePattern = d.namePattern(part, pattern, patternAt, flags)
	default:
		d.fault(pointer(at, members.name[0]), "it is missing: it says which one is meant")
	}
	if value, valueAt := d.oneOf(object, at, members.value); value != nil {
		if o, ok := value.(map[string]any); ok {
			d.onlyKnown(o, valueAt, "pattern", "flags")
		}
		k.Pattern = d.pattern(value, valueAt, flags)
	}
	return k
}

// oneOf is the member that is there under one of several names, and where; nil if there is
// none.
func (d *ruleReader) oneOf(object map[string]any, at string, names []string) (value any, place string) {
	place = pointer(at, names[0])
	for _, name := range names {
		v := object[name]
		switch {
		case v == nil:
		case value != nil:
			d.fault(pointer(at, name), "it says the same as %s; say one of them", place)
		default:
			value, place = v, pointer(at, name)
		}
	}
	return value, place
}

// maxCheckName bounds a name or JSONPath, in characters.
const maxCheckName = 512

// name judges a name as it is, or a JSONPath.
func (d *ruleReader) name(part, text, at string) string {
	if n := utf8.RuneCountInString(text); n > maxCheckName {
		d.fault(at, "it has %d characters, at most %d are taken", n, maxCheckName)
		return ""
	}
	alone := rule.Rule{}
	check := []rule.Check{{Name: text}}
	switch part {
	case "headers":
		alone.Headers = check
	case "body":
		alone.Body = check
	case "query":
		alone.Query = check
	default:
		alone.Claims = check
	}
	d.try(alone, at)
	return text
}

// namePattern reads a pattern for names. One that fits a single header or parameter is
// that name, which costs less.
func (d *ruleReader) namePattern(part string, v any, at, flags string) (name, source string) {
	if o, ok := v.(map[string]any); ok {
		d.onlyKnown(o, at, "pattern", "flags")
	}
	before := len(d.faults)
	source = d.pattern(v, at, flags)
	if len(d.faults) > before {
		return "", ""
	}
	if source == "" { // fits all
		source = ".*"
	}
	if name, one := literalName(source, part == "headers"); one && (part == "headers" || part == "query") {
		return d.name(part, name, at), ""
	}
	return "", source
}

// showName is a name as a pattern.
func showName(k rule.Check) Pattern {
	if k.NamePattern != "" {
		return showPattern(k.NamePattern)
	}
	return Pattern{Pattern: "^" + regexp.QuoteMeta(k.Name) + "$"}
}

// showPart is a name as it is, or the pattern for names.
func showPart(k rule.Check) any {
	if k.NamePattern != "" {
		return showPattern(k.NamePattern)
	}
	return k.Name
}

func showValue(k rule.Check) *Pattern {
	if k.Pattern == "" {
		return nil
	}
	p := showPattern(k.Pattern)
	return &p
}

func presenceOf(absent bool) string {
	if absent {
		return "must_not_exist"
	}
	return "must_exist"
}
