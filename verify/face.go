package verify

import "slices"

// face is what a gateway shows to callers whom it does not know: the same whatever proxy
// they ask for, so that names cannot be guessed. It is made of what the configuration
// declares. What is made through the API adds nothing, as one client's callers must not be
// told, or led to, what another client says. It does not change.
type face struct {
	plain, rejected []string // challenges without and with a refused credential
	slots           slots    // where any of the proxies looks for a credential
	resource        *resource
}

// addUsual adds what a gateway always shows that serves what is made through the API: the
// challenges and carriers of what most proxies accept.
func (f *face) addUsual() {
	entries := []*accepted{{verifier: new(Key)}, {verifier: new(Bearer)}, {verifier: new(Basic)}}
	f.plain, f.rejected = union(f.plain, challengesOf(entries, false)), union(f.rejected, challengesOf(entries, true))
	f.slots.add(keyCarriers())
}

// add adds what a proxy accepts.
func (f *face) add(g *Gate) {
	f.plain, f.rejected = union(f.plain, g.plain), union(f.rejected, g.rejected)
	f.resource = f.resource.join(g.resource)
	for _, x := range g.main.slots.list {
		f.slots.add([]Carrier{{In: x.in, Name: x.name}})
	}
}

// challenges are those for a caller who has presented something, or nothing.
func (f *face) challenges(rejected bool) []string {
	if rejected {
		return slices.Clip(f.rejected)
	}
	return slices.Clip(f.plain)
}
