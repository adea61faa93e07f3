package inject

import (
	"net/http"
	"net/url"
	"slices"
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
	paths   []*value
}

func newSlots(x Injector) (slots, error) {
	list := []Slot{{InHeader, "Authorization"}}
	if s, ok := x.(Slotted); ok {
		list = slices.Clone(s.Slots())
	}
	for i := range list {
		if err := list[i].Validate(); err != nil {
			return slots{}, err
		}
	}
	s := slots{folded: make(map[string]bool), fold: make(map[string]string)}
	for _, slot := range list {
		switch slot.In {
		case InHeader:
			name := slot.Name
			s.headers = append(s.headers, name)
			s.fold[name] = exchange.Fold(name)
			s.folded[s.fold[name]] = true
		case InQuery:
			s.query = append(s.query, slot.Name)
		case InCookie:
			s.cookies = append(s.cookies, slot.Name)
		}
	}
	if p, ok := x.(interface{ parts() []*value }); ok {
		for _, v := range p.parts() {
			if v.slot.In == InPath {
				s.paths = append(s.paths, v)
			}
		}
	}
	return s, nil
}

// referring are the response headers that hold URLs, in which upstreams repeat the query
// and the path that they were asked with, above all in redirects.
var referring = []string{"Location", "Content-Location", "Link", "Refresh"}

// conceal takes credentials of the query and the path out of the response's URLs.
func (s *slots) conceal(h http.Header) {
	if len(s.query)+len(s.paths) == 0 {
		return
	}
	for _, name := range referring {
		lines := h[name]
		for i, line := range lines {
			for _, param := range s.query {
				line = withoutInURLs(line, param)
			}
			for _, v := range s.paths {
				text := *v.text.Load()
				line = strings.ReplaceAll(line, "/"+url.PathEscape(text), "")
				line = strings.ReplaceAll(line, "/"+text, "")
			}
			lines[i] = line
		}
	}
}

// withoutInURLs removes a parameter from the queries of all URLs in a text.
func withoutInURLs(text, param string) string {
	var out strings.Builder
	for {
		i := strings.IndexByte(text, '?')
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:i])
		end := strings.IndexAny(text[i:], "#>\"' \t")
		if end < 0 {
			end = len(text) - i
		}
		if query := exchange.WithoutParameter(text[i+1:i+end], param); query != "" {
			out.WriteByte('?')
			out.WriteString(query)
		}
		text = text[i+end:]
	}
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
		r.URL.RawQuery = exchange.WithoutParameter(r.URL.RawQuery, name)
	}
	for _, name := range s.cookies {
		exchange.RemoveCookie(r.Header, name)
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
