package rule

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/theory/jsonpath"
	"github.com/theory/jsonpath/spec"
)

// maxSteps bounds the work of following one JSONPath in one document. A step is a value
// that is looked at, or eight bytes of a text that is selected: RFC 9535 section 4.1 warns
// that a short path can select a document many times over ($..*..*, $[*,*][*,*]). Looking
// at every value of a body of 1 MiB, at any depth, takes about a million.
const maxSteps = 1 << 22

// errTooManySteps says that a document was not judged.
var errTooManySteps = errors.New("a JSONPath selects so much of it that not all can be looked at")

// JSONPath selects values of a JSON document (RFC 9535). Filters are restricted to what
// costs little: see simpleFilter.
type JSONPath struct{ segments []segment }

// segment is a part of a path, such as .name, [*] or ..name.
type segment struct {
	child *spec.Segment
	deep  bool // it searches at any depth (..)
	// looking from one value costs once, and each for every value in it
	once, each int
}

// ParseJSONPath reads a path such as $.data.token.
func ParseJSONPath(text string) (*JSONPath, error) {
	path, err := jsonpath.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a JSONPath such as $.amount (RFC 9535): %w", text, err)
	}
	p := new(JSONPath)
	for _, s := range path.Query().Segments() {
		own := segment{child: spec.Child(s.Selectors()...), deep: s.IsDescendant(), once: 1}
		for _, selector := range s.Selectors() {
			switch selector := selector.(type) {
			case *spec.FilterSelector:
				terms, err := simpleFilter(selector.String())
				if err != nil {
					return nil, fmt.Errorf("%q: %w", text, err)
				}
				own.each += 1 + terms
			case spec.WildcardSelector, spec.SliceSelector:
				own.each++
			default:
				own.once++
			}
		}
		p.segments = append(p.segments, own)
	}
	return p, nil
}

var (
	quoted   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	singular = regexp.MustCompile(`\["\]|\[-?[0-9]+\]`)
	function = regexp.MustCompile(`[a-z][a-z0-9_]*\(`)
)

// simpleFilter judges a filter in the library's normal form, and counts the paths in it.
// A filter is tried for each value, so what it asks must not depend on how large the rest
// of the document is: each of its paths has to lead to one value (@.price, $.limit), a
// function takes none of those that begin at the root, and there are no regular expressions
// (match, search), which a rule's own pattern is for.
func simpleFilter(text string) (paths int, err error) {
	text = quoted.ReplaceAllString(strings.TrimPrefix(text, "?"), `"`)
	text = singular.ReplaceAllString(text, "")
	functions := function.FindAllString(text, -1)
	switch {
	case strings.ContainsAny(text, "[]*?") || strings.Contains(text, ".."):
		return 0, errors.New("in a filter a path has to lead to one value, such as @.price or $.limit: no .. or *, no slices, lists or filters")
	case slices.Contains(functions, "match("), slices.Contains(functions, "search("):
		return 0, errors.New("a filter cannot use match or search: select the texts, and give the condition a pattern")
	case len(functions) > 0 && strings.Contains(text, "$"):
		return 0, errors.New("a filter with a function cannot use paths that begin with $")
	}
	return strings.Count(text, "@") + strings.Count(text, "$"), nil
}

// Select returns what the path selects of a document that strictjson has decoded, or an
// error if that is too much work.
func (p *JSONPath) Select(doc any) ([]any, error) {
	nodes := []any{doc}
	w := walk{root: doc, left: maxSteps}
	for i := range p.segments {
		w.found = nil
		for _, node := range nodes {
			if !w.from(node, &p.segments[i]) {
				return nil, errTooManySteps
			}
		}
		nodes = w.found
	}
	return nodes, nil
}

// walk follows a segment.
type walk struct {
	root  any
	found []any
	left  int // steps
}

// from adds what a segment selects of a value, and with .. of all that is in it; false if
// there are too few steps left.
func (w *walk) from(node any, s *segment) bool {
	var inside int
	switch node := node.(type) {
	case map[string]any:
		inside = len(node)
	case []any:
		inside = len(node)
	default:
		w.left--
		return w.left >= 0
	}
	if w.left -= s.once + s.each*inside; w.left < 0 {
		return false
	}
	selected := s.child.Select(node, w.root)
	for _, v := range selected {
		if text, ok := v.(string); ok {
			w.left -= len(text) / 8
		}
	}
	w.found = append(w.found, selected...)
	if !s.deep || w.left < 0 {
		return w.left >= 0
	}
	switch node := node.(type) {
	case map[string]any:
		for _, v := range node {
			if !w.from(v, s) {
				return false
			}
		}
	case []any:
		for _, v := range node {
			if !w.from(v, s) {
				return false
			}
		}
	}
	return true
}
