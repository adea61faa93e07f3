package wire

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
)

// request is a kind of body.
type request struct {
	model func() *schema
	// ignored are members of answers that mean nothing in a body.
	ignored func() []string
	// later are members that belong to what this version does not have.
	later map[string]string
}

// newRequest describes a body by its struct, and by the struct of the answer that may be
// sent back.
func newRequest(body, answer any, later map[string]string) *request {
	model := sync.OnceValue(func() *schema { return exactSchemaOf(reflect.TypeOf(body)) })
	return &request{
		model: model, later: later,
		ignored: sync.OnceValue(func() []string { return append(namesOf(reflect.TypeOf(answer)), "userId") }),
	}
}

// namesOf are the JSON names of a struct's fields.
func namesOf(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			names = append(names, namesOf(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// Reasons for what this version does not have.
const (
	noFilters = "filters are not supported by this version; leave it out"
	noMeters  = "meters and limits of requests are not supported by this version; leave it out"
)

// read reads a body; false if it is no object. h is the head of the record that it is about,
// nil if it makes one.
func (q *request) read(r *reader, body []byte, h *store.Head, idName string) (*members, bool) {
	object, ok := r.object(body)
	if !ok {
		return nil, false
	}
	ignored := q.ignored()
	for _, name := range sortedKeys(q.later) {
		if _, there := object[name]; there {
			r.fault(pointer("", name), "%s", q.later[name])
			ignored = append(slices.Clip(ignored), name)
		}
	}
	if h != nil {
		r.sameIDs(object, h, idName)
	}
	return q.model().decode(r, object, "", ignored...), true
}

// text sets a text that is given; null makes it empty.
func (m *members) text(name string, to *string) {
	if v, there := m.values[name]; there {
		*to, _ = v.(string)
	}
}

// yes is text for what is true or false; null is false.
func (m *members) yes(name string, to *bool) {
	if v, there := m.values[name]; there {
		*to, _ = v.(bool)
	}
}

func (m *members) number(name string, to *int64) {
	if v, there := m.values[name]; there {
		n, _ := v.(json.Number)
		*to, _ = n.Int64()
	}
}

func (m *members) moment(name string, to *time.Time) {
	if v, there := m.values[name]; there {
		*to, _ = v.(time.Time)
	}
}

func (m *members) list(name string, to *[]string) {
	v, there := m.values[name]
	if !there {
		return
	}
	*to = nil
	list, _ := v.([]any)
	for _, x := range list {
		*to = append(*to, x.(string))
	}
}

// name sets a record's name, which it has to have.
func (r *reader) name(m *members, member string, to *string) {
	m.text(member, to)
	switch n := utf8.RuneCountInString(*to); {
	case m.bad[member]:
	case *to == "":
		r.fault(m.place(member, member), "it is missing: a name has 1 to %d characters", MaxName)
	case n > MaxName || strings.ContainsFunc(*to, unicode.IsControl):
		r.fault(m.place(member, member), "a name has 1 to %d characters, none of which is a control character", MaxName)
	}
}

// region sets a region, which stays what it was first.
func (r *reader) region(m *members, member string, to *string) {
	before := *to
	m.text(member, to)
	switch {
	case strings.ContainsFunc(*to, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		r.fault(m.place(member, member), "a region has up to %d characters, without spaces and control characters", MaxRegion)
	case before != "" && *to != before:
		r.fault(m.place(member, member), "it is fixed when a record is made; make another one for another region")
	}
}

// effect sets a default effect; null makes it unsaid.
func (r *reader) effect(m *members, member string, to *string) {
	m.text(member, to)
	if *to != "" && *to != rule.Allow && *to != rule.Deny {
		r.fault(m.place(member, member), "it has to be allow or deny")
	}
}

// isToken tells whether a text may stand in a URL as it is: a part of a path of unreserved
// characters (RFC 3986 section 2.3) that is no dot segment.
func isToken(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= MaxName &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~") == ""
}

// looksLikeID tells whether a text could be taken for a record's id: a UUID (RFC 9562), in any
// case.
func looksLikeID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(strings.ToLower(s)) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
