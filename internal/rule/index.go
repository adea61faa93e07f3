package rule

import (
	"slices"
	"strings"
)

// indexedFrom is how many rules a scope has for an index to be worth it.
const indexedFrom = 16

// index finds the rules of a large scope that a path may concern, so that the others need
// not be asked. Allow rules compare the path as it is, deny rules the folded one.
type index struct {
	allow, deny pathIndex
}

// pathIndex has, in ascending order, the positions of rules by what their paths begin with.
type pathIndex struct {
	exact    map[string][]int32 // by the whole path
	folders  map[string][]int32 // by whole segments, with the slash behind them: /v1/charges/
	deepest  int                // slashes of the longest folder
	anywhere []int32            // what may begin with anything
}

// newIndex returns nil for a scope that is not large, or of which most rules do not say what
// paths begin with.
func newIndex(rules []compiled) *index {
	if len(rules) < indexedFrom {
		return nil
	}
	x := new(index)
	for i := range rules {
		if c := &rules[i]; c.deny {
			x.deny.add(int32(i), c)
		} else {
			x.allow.add(int32(i), c)
		}
	}
	if 2*(len(x.allow.anywhere)+len(x.deny.anywhere)) > len(rules) {
		return nil
	}
	return x
}

func (x *pathIndex) add(position int32, c *compiled) {
	switch {
	case len(c.globs) > 0:
		for _, g := range c.globs {
			text, whole := g.begins()
			x.put(position, text, whole)
		}
	case c.path != nil && !c.path.negated:
		x.put(position, c.path.prefix, false)
	default:
		x.put(position, "", false)
	}
}

// begins is what every path begins with that may fit; whole says that it is the path.
func (g *glob) begins() (text string, whole bool) {
	switch g.kind {
	case exact:
		return g.text, true
	case prefix:
		return g.text, false
	case general:
		return g.literal, false
	}
	return "", false
}

func (x *pathIndex) put(position int32, text string, whole bool) {
	if whole {
		x.exact = with(x.exact, text, position)
		return
	}
	folder := text[:strings.LastIndexByte(text, '/')+1]
	if folder == "" {
		x.anywhere = appended(x.anywhere, position)
		return
	}
	x.folders = with(x.folders, folder, position)
	x.deepest = max(x.deepest, strings.Count(folder, "/"))
}

func with(m map[string][]int32, key string, position int32) map[string][]int32 {
	if m == nil {
		m = make(map[string][]int32)
	}
	m[key] = appended(m[key], position)
	return m
}

// appended adds a position that may be the last one again.
func appended(list []int32, position int32) []int32 {
	if n := len(list); n > 0 && list[n-1] == position {
		return list
	}
	return append(list, position)
}

// candidates appends to buf the positions of the rules that may match, in order.
func (x *index) candidates(in *Input, buf []int32) []int32 {
	buf, lists := x.allow.find(in.Path, buf, 0)
	if x.deny.some() {
		buf, lists = x.deny.find(in.foldedPath(), buf, lists)
	}
	if lists > 1 {
		slices.Sort(buf)
		buf = slices.Compact(buf)
	}
	return buf
}

func (x *pathIndex) some() bool { return len(x.anywhere)+len(x.exact)+len(x.folders) > 0 }

// find appends the positions of the rules for a path and counts the lists that they are of.
func (x *pathIndex) find(path string, buf []int32, lists int) ([]int32, int) {
	take := func(list []int32) {
		if len(list) > 0 {
			buf = append(buf, list...)
			lists++
		}
	}
	take(x.anywhere)
	if x.exact != nil {
		take(x.exact[path])
	}
	for i, depth := 0, 0; depth < x.deepest; depth++ {
		n := strings.IndexByte(path[i:], '/')
		if n < 0 {
			break
		}
		i += n + 1
		take(x.folders[path[:i]])
	}
	return buf, lists
}
