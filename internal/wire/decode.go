package wire

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// members are what an object has, by key; null is nil. Their types are right: texts are
// string, numbers json.Number, lists []any, moments time.Time, durations the text of one.
type members struct {
	values map[string]any
	places map[string]string // pointers
	bad    map[string]bool   // those that were refused
	at     string            // the pointer of the object
	object map[string]any    // as it is
}

// given tells whether the object has a member of that key, null included, whatever is
// wrong with it.
func (m *members) given(key string) bool { _, ok := m.places[key]; return ok }

// place points to a member, or to where it should be.
func (m *members) place(key, name string) string {
	if at, ok := m.places[key]; ok {
		return at
	}
	return pointer(m.at, name)
}

// decode reads an object. ignore are names that mean nothing here.
func (s *schema) decode(r *reader, object map[string]any, at string, ignore ...string) *members {
	m := &members{values: map[string]any{}, places: map[string]string{}, bad: map[string]bool{}, at: at, object: object}
	for _, member := range sortedKeys(object) {
		value := object[member]
		f := s.find(member, value)
		switch {
		case f == nil && slices.Contains(ignore, member):
			continue
		case f == nil:
			r.unknown(at, member, s.known)
			continue
		case f.readOnly:
			continue
		}
		place := pointer(at, member)
		if other, twice := m.places[f.key]; twice {
			r.fault(place, "it is another name of what is at %s; say one of them", other)
			continue
		}
		m.places[f.key] = place
		if value == nil {
			m.values[f.key] = nil
			continue
		}
		if v, ok := f.decode(r, value, place); ok {
			m.values[f.key] = v
		} else {
			m.bad[f.key] = true
		}
	}
	return m
}

// decode reads a value that is not null.
func (f *field) decode(r *reader, v any, at string) (any, bool) {
	switch f.shape {
	case text:
		return f.text(r, v, at)
	case integer:
		return f.integer(r, v, at)
	case flag:
		b, ok := v.(bool)
		if !ok {
			r.wrongType(at, v, "true or false")
		}
		return b, ok
	case duration:
		return decodeDuration(r, v, at)
	case moment:
		return decodeMoment(r, v, at)
	case texts, words:
		return f.texts(r, v, at)
	case free:
		return r.asObject(v, at)
	case document:
		return f.document(r, v, at)
	case structure, oneOrMore:
		return f.structures(r, v, at)
	case named:
		return f.named(r, v, at)
	}
	return v, true
}

func (f *field) text(r *reader, v any, at string) (any, bool) {
	s, ok := r.asText(v, at)
	switch n := utf8.RuneCountInString(s); {
	case !ok:
		return nil, false
	case n > f.longest:
		r.fault(at, "it has %d characters, at most %d are taken", n, f.longest)
		return nil, false
	case len(f.enum) > 0 && !slices.Contains(f.enum, s):
		r.fault(at, "it has to be %s", strings.Join(f.enum, " or "))
		return nil, false
	}
	return s, true
}

func (f *field) integer(r *reader, v any, at string) (any, bool) {
	n, ok := v.(json.Number)
	if !ok {
		r.wrongType(at, v, "a number")
		return nil, false
	}
	i, err := n.Int64()
	if err != nil || i < f.min || i > f.max {
		r.fault(at, "it has to be a whole number from %d to %d", f.min, f.max)
		return nil, false
	}
	return n, true
}

// decodeDuration reads 5m, or a number of seconds.
func decodeDuration(r *reader, v any, at string) (any, bool) {
	const form = "it has to be a duration such as 30s, 5m or 1h30m, or a number of seconds, of at most ten years"
	var d time.Duration
	switch v := v.(type) {
	case string:
		parsed, err := time.ParseDuration(v)
		if err != nil || parsed < 0 || parsed > MaxDuration {
			r.fault(at, form)
			return nil, false
		}
		d = parsed
	case json.Number:
		seconds, err := v.Float64()
		if err != nil || !(seconds >= 0 && seconds <= MaxDuration.Seconds()) {
			r.fault(at, form)
			return nil, false
		}
		d = time.Duration(math.Round(seconds * float64(time.Second)))
	default:
		r.wrongType(at, v, "a duration such as 5m, or a number of seconds")
		return nil, false
	}
	return d.String(), true
}

// decodeMoment reads a time as of RFC 3339.
func decodeMoment(r *reader, v any, at string) (any, bool) {
	s, ok := r.asText(v, at)
	if !ok {
		return nil, false
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		r.fault(at, "it has to be a time such as 2027-01-31T12:00:00Z (RFC 3339)")
		return nil, false
	}
	return shownTime(t), true // as it is shown again
}

func (f *field) texts(r *reader, v any, at string) (any, bool) {
	if s, ok := v.(string); ok {
		if f.shape != words {
			v = []any{s}
		} else {
			list := []any{}
			for word := range strings.FieldsSeq(s) {
				list = append(list, word)
			}
			v = list
		}
	}
	list, ok := r.asList(v, at)
	if !ok || !f.fits(r, len(list), at) {
		return nil, false
	}
	all := make([]any, len(list))
	for i, x := range list {
		var fine bool
		all[i], fine = f.text(r, x, pointer(at, i))
		ok = ok && fine
	}
	return all, ok
}

// fits judges how many elements there are.
func (f *field) fits(r *reader, n int, at string) bool {
	if n > f.most {
		r.fault(at, "it has %d elements, at most %d are taken", n, f.most)
		return false
	}
	return true
}

// document is an object as text, or a text that is JSON.
func (f *field) document(r *reader, v any, at string) (any, bool) {
	if object, ok := v.(map[string]any); ok {
		b, err := json.Marshal(object)
		if err != nil || len(b) > f.longest {
			r.fault(at, "it has more than the %d bytes that are taken", f.longest)
			return nil, false
		}
		return string(b), true
	}
	s, ok := f.text(r, v, at)
	if !ok {
		return nil, false
	}
	if _, err := strictjson.Object([]byte(s.(string)), strictjson.Options{}); err != nil {
		r.fault(at, "the text is not a JSON object")
		return nil, false
	}
	return s, true
}

func (f *field) structures(r *reader, v any, at string) (any, bool) {
	before := len(r.faults)
	if f.shape == structure {
		object, ok := r.asObject(v, at)
		if !ok {
			return nil, false
		}
		return f.inner.decode(r, object, at).plain(), len(r.faults) == before
	}
	if object, ok := v.(map[string]any); ok { // one stands for itself
		return []any{f.inner.decode(r, object, at).plain()}, len(r.faults) == before
	}
	list, ok := r.asList(v, at)
	if !ok || !f.fits(r, len(list), at) {
		return nil, false
	}
	all := make([]any, 0, len(list))
	for i, x := range list {
		if object, ok := r.asObject(x, pointer(at, i)); ok {
			all = append(all, f.inner.decode(r, object, pointer(at, i)).plain())
		}
	}
	return all, len(r.faults) == before
}

// plain is what is in the record: nothing for null, and times as text.
func (m *members) plain() map[string]any {
	object := make(map[string]any, len(m.values))
	for key, v := range m.values {
		switch v := v.(type) {
		case nil:
		case time.Time:
			object[key] = v.Format(time.RFC3339Nano)
		default:
			object[key] = v
		}
	}
	return object
}

func (f *field) named(r *reader, v any, at string) (any, bool) {
	object, ok := r.asObject(v, at)
	if !ok || !f.fits(r, len(object), at) {
		return nil, false
	}
	before := len(r.faults)
	all := make(map[string]any, len(object))
	for _, member := range sortedKeys(object) {
		place := at // see unknown
		if len(member) <= longestName {
			place = pointer(at, member)
		}
		switch {
		case len(member) > MaxName || member == "":
			r.fault(at, "a name in it is empty or longer than %d bytes", MaxName)
		case object[member] == nil:
			r.fault(place, "it is null; leave it out")
		default:
			if x, fine := f.element.decode(r, object[member], place); fine {
				all[member] = x
			}
		}
	}
	return all, len(r.faults) == before
}
