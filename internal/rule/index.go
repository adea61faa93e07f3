package rule

import "strings"

// indexedFrom is how many rules a scope has for an index to be worth it.
const indexedFrom = 16

// maxDepth is how many segments of a path are looked at one by one.
const maxDepth = 4

// index finds the rules of a large scope that a path may concern, so that the others need
// not be asked. Allow rules compare the path as it is, deny rules the folded one.
type index struct {
	allow, deny pathIndex
}

// pathIndex has, in ascending order, the positions of rules by what their paths begin with.
type pathIndex struct {
	exact    map[string][]int32 // by the whole path
	folders  map[string][]int32 // by up to maxDepth whole segments: /v1/charges/
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
	end, depth := 0, 0
	for ; depth <= maxDepth; depth++ { // the first slash is before the first segment
		n := strings.IndexByte(text[end:], '/')
		if n < 0 {
			break
		}
		end += n + 1
	}
	if end == 0 {
		x.anywhere = appended(x.anywhere, position)
		return
	}
	x.folders = with(x.folders, text[:end], position)
	x.deepest = max(x.deepest, depth)
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

// candidates are the positions of the rules that may match a path, in order: those of
// several lists, merged.
type candidates struct {
	lists [2 * (maxDepth + 3)][]int32 // of each pathIndex: anywhere, exact, and maxDepth+1 folders
	count int
}

func (c *candidates) add(list []int32) {
	if len(list) > 0 {
		c.lists[c.count] = list
		c.count++
	}
}

// find collects the lists for the request's path.
func (x *index) find(in *Input, to *candidates) {
	x.allow.find(in.Path, to)
	if x.deny.some() {
		x.deny.find(in.foldedPath(), to)
	}
}

// next takes out the first position, -1 if there is none left.
func (c *candidates) next() int32 {
	first := int32(-1)
	for _, list := range c.lists[:c.count] {
		if len(list) > 0 && (first < 0 || list[0] < first) {
			first = list[0]
		}
	}
	for i, list := range c.lists[:c.count] {
		if len(list) > 0 && list[0] == first {
			c.lists[i] = list[1:]
		}
	}
	return first
}

func (x *pathIndex) some() bool { return len(x.anywhere)+len(x.exact)+len(x.folders) > 0 }

// find adds the lists of the rules for a path.
func (x *pathIndex) find(path string, to *candidates) {
	to.add(x.anywhere)
	to.add(x.exact[path])
	for i, depth := 0, 0; depth < x.deepest; depth++ {
		n := strings.IndexByte(path[i:], '/')
		if n < 0 {
			break
		}
		i += n + 1
		to.add(x.folders[path[:i]])
	}
}
