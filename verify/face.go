package verify

import "slices"

// Face is what a gateway shows to callers whom it does not know: the same whatever proxy
// they ask for, so that names cannot be guessed. It does not change; With makes another.
type Face struct {
	plain, rejected []string // challenges without and with a refused credential
	slots           slots    // where any of the proxies looks for a credential
	resource        *resource
}

// usualFace is what a gateway always shows whose proxies come and go: the challenges and
// carriers of what most of them accept.
var usualFace = (&Face{}).
	with([]*accepted{{verifier: new(Key)}, {verifier: new(Bearer)}, {verifier: new(Basic)}}).
	carrying(keyCarriers())

// maxFace bounds the challenges and carriers of a Face, which callers get to see.
const maxFace = 64

// With returns the face with what a credential adds, the face itself if that is nothing.
func (f *Face) With(c *Credential) *Face {
	entries := c.entries()
	return f.with(entries).carrying(carriersOfAll(entries))
}

// withGate is With for what a proxy accepts.
func (f *Face) withGate(g *Gate) *Face {
	n := &Face{
		plain: union(slices.Clip(f.plain), g.plain), rejected: union(slices.Clip(f.rejected), g.rejected),
		slots: f.slots.clone(), resource: f.resource.join(g.resource),
	}
	for _, x := range g.main.slots.list {
		n.slots.add([]Carrier{{In: x.in, Name: x.name}})
	}
	n.slots.finish()
	return n
}

func (f *Face) with(entries []*accepted) *Face {
	plain, rejected := challengesOf(entries, false), challengesOf(entries, true)
	m := resourceOf(entries)
	if containsAll(f.plain, plain) && containsAll(f.rejected, rejected) && m == nil || len(f.plain) >= maxFace {
		return f
	}
	n := *f
	n.plain, n.rejected = union(slices.Clip(f.plain), plain), union(slices.Clip(f.rejected), rejected)
	n.resource = f.resource.join(m)
	return &n
}

func (f *Face) carrying(carriers []Carrier) *Face {
	known := func(c Carrier) bool {
		return slices.ContainsFunc(f.slots.list, func(x slot) bool { return x.in == c.In && x.name == c.Name })
	}
	fresh := slices.DeleteFunc(slices.Clone(carriers), known)
	if len(fresh) == 0 || len(f.slots.list) >= maxFace {
		return f
	}
	n := *f
	n.slots = f.slots.clone()
	for _, c := range fresh {
		n.slots.add([]Carrier{{In: c.In, Name: c.Name}})
	}
	n.slots.finish()
	return &n
}

// join is the face of both.
func (f *Face) join(other *Face) *Face {
	n := &Face{
		plain: union(slices.Clip(f.plain), other.plain), rejected: union(slices.Clip(f.rejected), other.rejected),
		slots: f.slots.clone(), resource: f.resource.join(other.resource),
	}
	for _, x := range other.slots.list {
		n.slots.add([]Carrier{{In: x.in, Name: x.name}})
	}
	n.slots.finish()
	return n
}

func containsAll(list, of []string) bool {
	return !slices.ContainsFunc(of, func(s string) bool { return !slices.Contains(list, s) })
}

func carriersOfAll(entries []*accepted) (all []Carrier) {
	for _, a := range entries {
		if a.verifier == nil {
			continue
		}
		if c, ok := a.verifier.(Carrying); ok {
			all = append(all, c.Carriers()...)
		} else {
			all = append(all, Carrier{In: InHeader, Name: "Authorization"})
		}
	}
	return all
}

// clone is a copy that can be added to.
func (s *slots) clone() slots {
	return slots{list: slices.Clone(s.list), query: s.query, companions: slices.Clone(s.companions)}
}
