package exchange

import (
	"errors"
	"fmt"
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

// CheckMethod refuses what no API needs, and what goes round, and returns the method that rules judge: a
// WebSocket over HTTP/2 or HTTP/3 is an extended CONNECT (RFC 8441, RFC 9220), which
// Caddy forwards as the GET that it means.
func CheckMethod(r *http.Request) (string, *Refusal) {
	switch r.Method {
	case http.MethodConnect:
		if r.ProtoMajor == 2 && r.Header.Get(":protocol") == "websocket" || r.ProtoMajor == 3 && r.Proto == "websocket" {
			return http.MethodGet, nil
		}
		return "", Refuse(http.StatusMethodNotAllowed, CodeMethodRefused, errors.New("CONNECT other than for a WebSocket"))
	case http.MethodTrace:
		return "", Refuse(http.StatusMethodNotAllowed, CodeMethodRefused, errors.New("TRACE would echo credentials (RFC 9110 section 9.3.8)"))
	}
	if looped(r.Header) {
		return "", Refuse(http.StatusLoopDetected, CodeLoop, fmt.Errorf("it came through more than %d gateways, by its Via: a target leads back to this gateway", maxVia))
	}
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
		default:
			return "", Refuse(http.StatusTooEarly, CodeEarlyData, errors.New("an unsafe method in TLS early data, which can be replayed (RFC 8470)"))
		}
	}
	OnlyWebSocket(r)
	return r.Method, nil
}

// maxVia is how many gateways and proxies a request may have come through. Each Caddy adds itself
// to Via.
const maxVia = 20

// looped tells by Via whether a request goes round: a target that leads back to the gateway, with
// a credential that the gateway accepts, would have one request become as many as there is room for (RFC 9110
// section 7.6.3).
func looped(h http.Header) bool {
	n := 0
	for _, line := range h["Via"] {
		n += 1 + strings.Count(line, ",")
	}
	return n > maxVia
}

// NeutralizeConnection does what reverse_proxy will do, before rules judge the headers and
// before a credential is written: it removes the headers that Connection names. Otherwise
// rules would judge headers that are not sent, and `Connection: Authorization`
// from a caller would remove the upstream's credential (RFC 9110 section 7.6.1 lets an
// intermediary remove what Connection lists).
func NeutralizeConnection(h http.Header) {
	upgrade := false
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			switch token = strings.Trim(token, " \t"); {
			case token == "":
			case strings.EqualFold(token, "upgrade"):
				upgrade = true
			default:
				h.Del(token)
			}
		}
	}
	delete(h, "Connection")
	if upgrade {
		h["Connection"] = []string{"Upgrade"}
	}
}
