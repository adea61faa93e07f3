package wire

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// pattern reads a pattern, a text or {"pattern", "flags"}, and returns it with its flags in
// it. flags are those of patterns that have none of their own.
func (d *ruleReader) pattern(v any, at, flags string) (source string) {
	if object, ok := v.(map[string]any); ok {
		if f := object["flags"]; f != nil {
			flags, _ = d.readFlags(f, pointer(at, "flags"))
		}
		v, at = object["pattern"], pointer(at, "pattern")
		if v == nil {
			d.fault(at, "it is missing: it is a regular expression")
			return ""
		}
	}
	source, ok := d.asText(v, at)
	if !ok || source == "" {
		return ""
	}
	if len(source) > MaxPattern {
		d.fault(at, "it has %d bytes, at most %d are taken", len(source), MaxPattern)
		return ""
	}
	if flags != "" {
		source = "(?" + flags + ")" + source
	}
	tree, err := syntax.Parse(source, syntax.Perl)
	if err == nil && operations(tree) > MaxPatternOps {
		d.fault(at, "with its repetitions written out it has more than %d parts", MaxPatternOps)
		return ""
	}
	if err := rule.CheckPattern(source); err != nil {
		d.fault(at, "%v", err)
		return ""
	}
	return source
}

// operations is about how many instructions a pattern compiles to.
func operations(tree *syntax.Regexp) int {
	n := 1
	if tree.Op == syntax.OpLiteral || tree.Op == syntax.OpCharClass {
		n = max(1, len(tree.Rune))
	}
	for _, sub := range tree.Sub {
		n = min(n+operations(sub), MaxPatternOps+1)
	}
	if tree.Op == syntax.OpRepeat {
		n *= max(1, tree.Min, tree.Max)
	}
	return min(n, MaxPatternOps+1)
}

// readFlags reads JavaScript's flags of regular expressions, and returns those that RE2 has.
func (d *ruleReader) readFlags(v any, at string) (flags string, ok bool) {
	text, ok := d.asText(v, at)
	if !ok {
		return "", false
	}
	for _, c := range text {
		switch c {
		case 'i', 'm', 's':
			if !strings.ContainsRune(flags, c) {
				flags += string(c)
			}
		case 'g', 'u', 'd': // of no meaning where it only counts whether something fits
		case 'y':
			d.fault(at, "y (sticky) is for searching on from where the last search ended; patterns here are searched for once: write ^")
			return "", false
		case 'v':
			d.fault(at, "v (sets of classes) is JavaScript's, patterns here are RE2: write the class out")
			return "", false
		default:
			d.fault(at, "flags are i, m and s; g, u and d are ignored")
			return "", false
		}
	}
	return inOrder(flags), true
}

// inOrder are flags in the order in which they are written.
func inOrder(flags string) string {
	list := []byte(flags)
	slices.Sort(list)
	return string(list)
}

var leadingFlags = regexp.MustCompile(`^\(\?(i?m?s?)\)`)

// showPattern is a stored pattern with its flags beside it, where they can be read back from
// there.
func showPattern(source string) Pattern {
	m := leadingFlags.FindStringSubmatch(source)
	if m == nil || m[1] == "" || len(m[0]) == len(source) {
		return Pattern{Pattern: source}
	}
	return Pattern{Pattern: source[len(m[0]):], Flags: m[1]}
}

// literalName is the one name that a pattern such as ^X-Env$ fits, false if there may be
// others. With anyCase (?i) makes no difference.
func literalName(source string, anyCase bool) (string, bool) {
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil || tree.Op != syntax.OpConcat || len(tree.Sub) != 3 {
		return "", false
	}
	begin, name, end := tree.Sub[0], tree.Sub[1], tree.Sub[2]
	if begin.Op != syntax.OpBeginText || end.Op != syntax.OpEndText || name.Op != syntax.OpLiteral {
		return "", false
	}
	if name.Flags&syntax.FoldCase != 0 && !anyCase {
		return "", false
	}
	return string(name.Rune), true
}
