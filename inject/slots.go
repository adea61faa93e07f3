package inject

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// slots are the places that an injector writes, made ready for emptying them.
type slots struct {
	headers []string
	folded  map[string]bool
	fold    map[string]string // header name → folded
	query   []string
	cookies []string
}

func newSlots(x Injector) slots {
	list := []Slot{{InHeader, "Authorization"}}
	if s, ok := x.(Slotted); ok {
		list = s.Slots()
	}
	s := slots{folded: make(map[string]bool), fold: make(map[string]string)}
	for _, slot := range list {
		switch slot.In {
		case InHeader:
			name := http.CanonicalHeaderKey(slot.Name)
			s.headers = append(s.headers, name)
			s.fold[name] = exchange.Fold(name)
			s.folded[s.fold[name]] = true
		case InQuery:
			s.query = append(s.query, slot.Name)
		case InCookie:
			s.cookies = append(s.cookies, slot.Name)
		}
	}
	return s
}

// clear removes what the caller sent at the slots, look-alikes of header names included,
// from a request whose header map and URL may be changed. stripped are the folded names
// that rr_verify has removed with their look-alikes already.
func (s *slots) clear(r *http.Request, stripped map[string]bool) {
	for _, name := range s.headers {
		delete(r.Header, name)
		if !stripped[s.fold[name]] {
			s.clearLookAlikes(r.Header)
		}
	}
	for _, name := range s.query {
		r.URL.RawQuery = withoutParameter(r.URL.RawQuery, name)
	}
	for _, name := range s.cookies {
		removeCookie(r.Header, name)
	}
	if len(r.Trailer) > 0 {
		exchange.ScrubTrailers(r, s.folded)
	}
}

func (s *slots) clearLookAlikes(h http.Header) {
	for name := range h {
		if exchange.LooksAlike(name) && s.folded[exchange.Fold(name)] {
			delete(h, name)
		}
	}
}

// withoutParameter removes a parameter, in any spelling of its name, from a raw query and
// leaves every other byte alone. Some servers separate pairs with ; as well.
func withoutParameter(raw, name string) string {
	if raw == "" {
		return raw
	}
	var out strings.Builder
	sep := ""
	for rest := raw; rest != ""; {
		pair, next := rest, ""
		i := strings.IndexAny(rest, "&;")
		if i >= 0 {
			pair, next, rest = rest[:i], rest[i:i+1], rest[i+1:]
		} else {
			rest = ""
		}
		key, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(key); err == nil {
			key = decoded
		}
		if strings.EqualFold(key, name) {
			continue
		}
		out.WriteString(sep)
		out.WriteString(pair)
		sep = next
	}
	return out.String()
}

func removeCookie(h http.Header, name string) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return
	}
	var kept []string
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimSpace(part)
			if k, _, _ := strings.Cut(part, "="); part != "" && strings.TrimSpace(k) != name {
				kept = append(kept, part)
			}
		}
	}
	delete(h, "Cookie")
	if len(kept) > 0 {
		h["Cookie"] = []string{strings.Join(kept, "; ")}
	}
}
