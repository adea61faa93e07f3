package wire

import (
	"iter"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
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
	// before it is compiled: that takes time and memory for each part
	if n := sizeOf(source); n > MaxPatternOps {
		d.fault(at, "with its repetitions written out it has more than %d parts", MaxPatternOps)
		return ""
	} else if d.size += n; d.size > MaxScopeOps {
		if d.size-n <= MaxScopeOps { // those that follow are not told of
			d.fault(at, "with it, all patterns together have more than %d parts, with their repetitions written out", MaxScopeOps)
		}
		return ""
	}
	if err := rule.CheckPattern(source); err != nil {
		d.fault(at, "%v", err)
		return ""
	}
	return source
}

// What some texts cost that take long to parse and may leave a small pattern: a class of
// Unicode adds hundreds of ranges, and a wide range beside (?i) all that is the same in
// another case.
const (
	classOps = 100
	rangeOps = 1000
)

// sizeOf is about how many instructions a pattern compiles to, or more if it takes long to
// find out; it is never much more than MaxPatternOps. What is no pattern has 0.
func sizeOf(source string) int {
	n := 0
	for i := 0; i+1 < len(source); i++ {
		switch a, b := source[i], source[i+1]; {
		case a == '\\' && (b == 'p' || b == 'P'):
			n += classOps
		case a == '-' && (b >= utf8.RuneSelf || b == '\\' && i+2 < len(source) && source[i+2] == 'x'):
			n += rangeOps
		}
	}
	if n > MaxPatternOps {
		return MaxPatternOps + 1
	}
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return 0
	}
	return n + operations(tree)
}

// patternsOf are all patterns of a rule.
func patternsOf(r *rule.Rule) iter.Seq[string] {
	return func(yield func(string) bool) {
		if r.PathRegexp != "" && !yield(r.PathRegexp) {
			return
		}
		for _, part := range [][]rule.Check{r.Headers, r.Query, r.Claims, r.Body} {
			for _, k := range part {
				if k.NamePattern != "" && !yield(k.NamePattern) || k.Pattern != "" && !yield(k.Pattern) {
					return
				}
			}
		}
	}
}

// tooLarge tells whether the patterns of all rules have too many parts together.
func tooLarge(rules []store.Rule) bool {
	n := 0
	for i := range rules {
		for source := range patternsOf(&rules[i].Rule) {
			if n += sizeOf(source); n > MaxScopeOps {
				return true
			}
		}
	}
	return false
}

// operations is about how many instructions a pattern compiles to.
func operations(tree *syntax.Regexp) int {
	n := 0
	for _, sub := range tree.Sub {
		n = min(n+operations(sub), MaxPatternOps+1)
	}
	switch tree.Op {
	case syntax.OpLiteral:
		n = len(tree.Rune)
	case syntax.OpCharClass:
		n = len(tree.Rune) / 2 // its ranges
	case syntax.OpConcat:
	case syntax.OpAlternate:
		n += len(tree.Sub) - 1
	case syntax.OpCapture:
		n += 2
	case syntax.OpRepeat:
		n = n*max(1, tree.Min, tree.Max) + max(1, tree.Max-tree.Min)
	default:
		n++
	}
	return min(max(n, 1), MaxPatternOps+1)
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
