package exchange

import (
	"io"
	"net/http"
	"strings"
)

// Fold maps a header name to what CGI-like backends make of it: letter case, "_", "."
// and "-" are all the same to them, so X_Api_Key would shadow X-Api-Key.
func Fold(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '_' || c == '.':
			return '-'
		case c >= 'A' && c <= 'Z':
			return c | 0x20
		}
		return c
	}, name)
}

// LooksAlike reports whether a header name could be a disguise of another: it has "_" or
// ".", or is not in canonical form (Go's servers canonicalise, other code may not).
func LooksAlike(name string) bool {
	upper := true
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_' || c == '.':
			return true
		case upper && c >= 'a' && c <= 'z', !upper && c >= 'A' && c <= 'Z':
			return true
		}
		upper = c == '-'
	}
	return false
}

// ScrubTrailers keeps the request's trailers free of fields whose folded name is in
// names. The server fills in trailers when the body has been read, so they are looked at
// again then.
func ScrubTrailers(r *http.Request, names map[string]bool) {
	scrub(r.Trailer, names)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &trailerScrubber{r.Body, r.Trailer, names}
	}
}

type trailerScrubber struct {
	io.ReadCloser
	trailer http.Header
	names   map[string]bool
}

func (s *trailerScrubber) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil {
		scrub(s.trailer, s.names)
	}
	return n, err
}

func scrub(h http.Header, names map[string]bool) {
	for name := range h {
		if names[Fold(name)] {
			delete(h, name)
		}
	}
}

// OnlyWebSocket takes the offer of any other upgrade than websocket off a request, as a
// recipient may ignore it (RFC 9110 section 7.8): h2c and the like would open a channel
// that no rule sees.
func OnlyWebSocket(r *http.Request) {
	vals, ok := r.Header["Upgrade"]
	if !ok || len(vals) == 1 && strings.EqualFold(strings.TrimSpace(vals[0]), "websocket") {
		return
	}
	delete(r.Header, "Upgrade")
	delete(r.Header, "Http2-Settings")
	for i, line := range r.Header["Connection"] {
		var kept []string
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.TrimSpace(token); !strings.EqualFold(token, "upgrade") && !strings.EqualFold(token, "http2-settings") {
				kept = append(kept, token)
			}
		}
		r.Header["Connection"][i] = strings.Join(kept, ", ")
	}
}
