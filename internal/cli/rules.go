package cli

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// parseRules reads rules as in a Caddyfile: methods with commas, or *, then paths.
func parseRules(effect string, list []string) (any, error) {
	var parsed []any
	for _, text := range list {
		r, err := parseRule(effect, text)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, map[string]any(r))
	}
	return parsed, nil
}

func parseRule(effect, text string) (record, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil, errors.New("it is empty; a rule for everything is *")
	}
	r := record{"effect": effect}
	var paths []any
	for i, word := range words {
		switch {
		case i == 0 && word == "*":
		case i == 0 && isMethods(word):
			methods := []any{}
			for method := range strings.SplitSeq(word, ",") {
				methods = append(methods, method)
			}
			r["methods"] = methods
		case strings.HasPrefix(word, "/") || strings.HasPrefix(word, "*"):
			paths = append(paths, word)
		default:
			return nil, fmt.Errorf("%q is neither methods (in capitals, as in GET,POST, before any path) nor a path (which begins with / or *)", word)
		}
	}
	if paths != nil {
		r["paths"] = paths
	}
	return r, nil
}

func isMethods(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ,-") == "" && !strings.HasPrefix(s, ",") && !strings.HasPrefix(s, "-")
}

// parseChecks reads conditions: Name, Name=pattern, and with a ! in front that nothing of
// that name, or that fits, may be there.
func parseChecks(list []string) (any, error) {
	var parsed []any
	for _, text := range list {
		rest, absent := strings.CutPrefix(text, "!")
		name, pattern, hasPattern := cutPattern(rest)
		if name == "" {
			return nil, errors.New("each has to be a name, or name=pattern")
		}
		check := map[string]any{"name": name}
		if hasPattern {
			check["pattern"] = pattern
		}
		if absent {
			check["absent"] = true
		}
		parsed = append(parsed, check)
	}
	return parsed, nil
}

// cutPattern cuts at the first = that is in no brackets: a JSONPath may have some there.
func cutPattern(s string) (name, pattern string, ok bool) {
	depth := 0
	for i, c := range s {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		case '=':
			if depth <= 0 {
				return s[:i], s[i+1:], true
			}
		}
	}
	return s, "", false
}

// addRuleFlags adds the flags for what a rule says first.
func addRuleFlags(cmd *cobra.Command) {
	cmd.Flags().String("allow", "", "allow these methods and paths, as in 'GET,POST /v1/*'")
	cmd.Flags().String("deny", "", "deny these methods and paths")
	cmd.MarkFlagsMutuallyExclusive("allow", "deny")
}

// fillRule adds what --allow or --deny say to a rule. Of one that is changed they say all
// methods and paths.
func fillRule(cmd *cobra.Command, body record, isNew bool) (given bool, err error) {
	for _, effect := range effects {
		if !cmd.Flags().Changed(effect) {
			continue
		}
		text, err := cmd.Flags().GetString(effect)
		if err != nil {
			return false, err
		}
		r, err := parseRule(effect, text)
		if err != nil {
			return false, fmt.Errorf("--%s: %w", effect, err)
		}
		for _, name := range []string{"effect", "methods", "paths"} {
			if r[name] != nil || !isNew {
				body[name] = r[name]
			}
		}
		return true, nil
	}
	return false, nil
}

// ruleParents are what rules belong to, by the flag that names it.
var ruleParents = []*resource{proxies, targets, credentials}

func addParentFlags(s *session, cmd *cobra.Command) {
	s.ofClient(cmd)
	var flags []string
	for _, parent := range ruleParents {
		cmd.Flags().String(parent.singular, "", "the "+parent.singular+" that has the rule")
		s.complete(cmd, parent.singular, parent)
		flags = append(flags, parent.singular)
	}
	cmd.MarkFlagsMutuallyExclusive(flags...)
	cmd.MarkFlagsOneRequired(flags...)
}

// parentOf is the path of what a command's rules belong to.
func parentOf(cmd *cobra.Command) []string {
	for _, parent := range ruleParents {
		if name, err := cmd.Flags().GetString(parent.singular); err == nil && name != "" {
			return []string{"clients", ownerOf(cmd), parent.plural, name}
		}
	}
	return nil
}

// describeRule is a rule in words, but for its effect.
func describeRule(r record) string {
	parts := append([]string{cmp.Or(strings.Join(r.texts("methods"), ","), "*")}, r.texts("paths")...)
	if pattern := r.text("path.path.pattern"); pattern != "" {
		parts = append(parts, negated(r.text("path.presence"), "path ~ "+pattern))
	}
	for _, part := range []struct{ list, word, name, value string }{
		{"headers", "header", "name", "value"}, {"query", "query", "name", "value"}, {"token", "claim", "claim", "value"}, {"body", "body", "jsonPath", "matchValue"},
	} {
		list, _ := r.at(part.list).([]any)
		for _, item := range list {
			check, _ := item.(map[string]any)
			text := part.word + " " + nameOfCheck(record(check).at(part.name))
			if pattern := record(check).text(part.value + ".pattern"); pattern != "" {
				text += " ~ " + pattern
			}
			parts = append(parts, negated(record(check).text("presence"), text))
		}
	}
	if r.text("expression") != "" {
		parts = append(parts, "expression")
	}
	return strings.Join(parts, " ")
}

// nameOfCheck is the name that a condition is about: as it is, or a pattern, of which one
// that fits a single name is that name.
func nameOfCheck(v any) string {
	object, ok := v.(map[string]any)
	if !ok {
		return plain(v)
	}
	pattern := record(object).text("pattern")
	if name := strings.TrimSuffix(strings.TrimPrefix(pattern, "^"), "$"); pattern == "^"+name+"$" && regexp.QuoteMeta(name) == name {
		return name
	}
	return "~ " + pattern
}

func negated(presence, text string) string {
	if presence == "must_not_exist" {
		return "no " + text
	}
	return text
}
