package verify

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// slot is one place that some verifier of the gate reads, with the prefixes that its
// verifiers expect there ("" for none).
type slot struct {
	in, name string
	prefixes []string
}

// slots are all places that the verifiers of a gate read.
type slots struct {
	list  []slot
	query bool // any of them in the query
	// names of headers that come with credentials
	companions []string
	// names of headers that are removed: the carriers', their companions and the
	// standard ones
	headers []string
	folded  map[string]bool
}

// found is the raw value at a slot.
type found struct {
	slot int
	raw  string
}

// add makes the carriers known and returns, for each, its slot.
func (s *slots) add(carriers []Carrier) []int {
	ids := make([]int, len(carriers))
	for i, c := range carriers {
		id := slices.IndexFunc(s.list, func(x slot) bool { return x.in == c.In && x.name == c.Name })
		if id < 0 {
			id = len(s.list)
			s.list = append(s.list, slot{in: c.In, name: c.Name})
		}
		if !slices.Contains(s.list[id].prefixes, c.Prefix) {
			s.list[id].prefixes = append(s.list[id].prefixes, c.Prefix)
		}
		s.query = s.query || c.In == InQuery
		ids[i] = id
	}
	return ids
}

// shares reports a place that both sets read.
func (s *slots) shares(other *slots) (string, bool) {
	for _, a := range s.list {
		for _, b := range other.list {
			if a.in == b.in && a.name == b.name {
				return a.in + " " + a.name, true
			}
		}
	}
	return "", false
}

// finish computes what strip needs. Authorization and Proxy-Authorization never go on,
// whether or not a verifier reads them.
func (s *slots) finish() {
	s.headers = []string{"Authorization", "Proxy-Authorization"}
	for _, x := range s.list {
		if x.in == InHeader && !slices.Contains(s.headers, x.name) {
			s.headers = append(s.headers, x.name)
		}
	}
	for _, name := range s.companions {
		if !slices.Contains(s.headers, name) {
			s.headers = append(s.headers, name)
		}
	}
	s.folded = make(map[string]bool, len(s.headers))
	for _, name := range s.headers {
		s.folded[exchange.Fold(name)] = true
	}
}

// read collects what is at the slots, appended to buf. One slot twice, or two slots with
// different credentials, is an error.
func (s *slots) read(r *http.Request, buf []found) ([]found, error) {
	for i := range s.list {
		x := &s.list[i]
		if x.in == InQuery && r.URL.RawQuery == "" {
			continue
		}
		raw, n := readCarrier(r, x.in, x.name)
		if n > 1 {
			return buf, fmt.Errorf("%w: %s %s", errTwice, x.in, x.name)
		}
		if raw == "" {
			continue
		}
		if len(buf) > 0 && bare(buf[0].raw) != bare(raw) {
			return buf, errAmbiguous
		}
		buf = append(buf, found{i, raw})
	}
	return buf, nil
}

// strip removes every slot, the standard headers, and, if there may be any, look-alikes
// of either.
func (s *slots) strip(r *http.Request, lookAlikes bool) {
	h := r.Header
	for _, name := range s.headers {
		delete(h, name)
	}
	if lookAlikes {
		for name := range h {
			if exchange.LooksAlike(name) && s.folded[exchange.Fold(name)] {
				delete(h, name)
			}
		}
	}
	for i := range s.list {
		switch x := &s.list[i]; x.in {
		case InQuery:
			if rest := exchange.WithoutParameter(r.URL.RawQuery, x.name); rest != r.URL.RawQuery {
				r.URL.RawQuery = rest
				stripOriginal(r, x.name)
			}
			stripReferers(h, x.name)
		case InCookie:
			exchange.RemoveCookie(h, x.name)
		}
	}
	if len(r.Trailer) > 0 {
		exchange.ScrubTrailers(r, s.folded)
	}
}

// stripReferers removes a parameter from the URLs that browsers send along by themselves.
func stripReferers(h http.Header, name string) {
	lines := h["Referer"]
	for i, line := range lines {
		before, rest, ok := strings.Cut(line, "?")
		if !ok {
			continue
		}
		query, fragment, _ := strings.Cut(rest, "#")
		if cleaned := exchange.WithoutParameter(query, name); cleaned != query || fragment != "" {
			lines[i] = strings.TrimSuffix(before+"?"+cleaned, "?")
		}
	}
}

// stripOriginal removes a parameter from the URL that Caddy restores before its error
// routes, which may lead to another upstream.
func stripOriginal(r *http.Request, name string) {
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil {
		orig.URL.RawQuery = exchange.WithoutParameter(orig.URL.RawQuery, name)
	}
}

// names are the names of the slots at a place.
func (s *slots) names(in string) (list []string) {
	for _, x := range s.list {
		if x.in == in {
			list = append(list, x.name)
		}
	}
	return list
}
