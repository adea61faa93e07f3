// Package inject is the upstream's side of the gateway: what leaves with the request.
//
// A Gate holds one proxy's target, the target's credential, and the rules of both.
// rr_inject judges the rules and prepares; the transport http.reverse_proxy.transport.rr
// writes the credential on a copy of the final request, for each attempt, after Caddy has
// removed hop-by-hop headers. There nothing that the caller sent can remove it, no log
// of Caddy's shows it, and the address that is really dialled is known.
//
// A kind of credential is a Caddy module in the namespace rr.injectors that implements
// Injector. A kind from another Go module is used exactly like those of this package.
package inject

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// Namespace is where kinds of injectors are registered: rr.injectors.<kind>.
const Namespace = "rr.injectors"

// Injector gives the outgoing request its credential. It must be safe for concurrent use.
type Injector interface {
	// Inject changes r, a copy that belongs to it, with a header map and URL of its own.
	// The header's values may be shared: replace them (Header.Set), never write into one.
	// It is called for each attempt. An error refuses the request with 502
	// target-credential-failed; nothing is sent without the credential.
	Inject(r *http.Request) error
}

// Renewable is implemented by injectors whose credential can be renewed when an upstream
// refuses it.
type Renewable interface {
	// Renew is called after an upstream answered 401. r is the request as it was sent, so
	// it holds the credential that was refused. True means that Inject would now write
	// another one; then the request is sent once more, if its body can be. Whoever waits
	// in it waits no longer than r.Context().
	Renew(r *http.Request) (renewed bool, err error)
}

// Slotted is implemented by injectors that know beforehand where they write. Before
// Inject is called, whatever the caller sent there is removed, look-alikes of header
// names included. An injector without Slots is taken to write Authorization.
type Slotted interface {
	Slots() []Slot
}

// Slot is a place in a request where a credential is written.
type Slot struct {
	// Where: header, query, cookie or path.
	In string `json:"in"`
	// The name of the header, query parameter or cookie; empty for path.
	Name string `json:"name,omitempty"`
}

// The slots' places.
const (
	InHeader = "header"
	InQuery  = "query"
	InCookie = "cookie"
	InPath   = "path"
)

// forbidden headers cannot carry a credential: they belong to the connection, the
// framing or the forwarding, and are removed or rewritten on the way.
var forbidden = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Alt-Svc": true, "Host": true, "Content-Length": true, "Via": true, "Forwarded": true, "Expect": true,
	"Content-Type": true, "Content-Encoding": true,
}

// Validate checks and normalises a slot.
func (s *Slot) Validate() error {
	switch s.In {
	case InHeader:
		if !httpguts.ValidHeaderFieldName(s.Name) {
			return fmt.Errorf("%q is not a header name", s.Name)
		}
		s.Name = http.CanonicalHeaderKey(s.Name)
		if forbidden[s.Name] || strings.HasPrefix(s.Name, "X-Forwarded-") || strings.HasPrefix(s.Name, "Sec-Websocket-") {
			return fmt.Errorf("header %s cannot carry a credential: it belongs to the connection, the framing or the forwarding", s.Name)
		}
		if s.Name == "Cookie" {
			return errors.New("say `cookie <name> <value>` instead of the header Cookie")
		}
	case InQuery, InCookie:
		if s.Name == "" || s.In == InCookie && !httpguts.ValidHeaderFieldName(s.Name) {
			return fmt.Errorf("%q is not a name for a %s", s.Name, s.In)
		}
	case InPath:
		if s.Name != "" {
			return errors.New("a path segment has no name")
		}
	default:
		return fmt.Errorf("a credential goes into header, query, cookie or path, not into %q", s.In)
	}
	return nil
}

// value is a secret made ready for its slot, with what stands before it.
type value struct {
	slot Slot
	text atomic.Pointer[string]
}

// newValue follows v. A first value that cannot stand at the slot is an error; of later
// ones the last good stays.
func newValue(slot Slot, v *secret.Value, format func(string) string) (*value, error) {
	if err := slot.Validate(); err != nil {
		return nil, err
	}
	x := &value{slot: slot}
	var first error
	v.OnChange(func(s string) {
		if strings.TrimSpace(s) == "" {
			first = secret.ErrEmpty
		} else if err := x.set(format(s)); err != nil {
			first = err
		}
	})
	if x.text.Load() == nil {
		return nil, first
	}
	return x, nil
}

// set takes over a text, if the slot can carry it.
func (x *value) set(text string) error {
	err := checkValue(x.slot, text)
	if err == nil {
		x.text.Store(&text)
	}
	return err
}

func checkValue(slot Slot, text string) error {
	switch {
	case slot.In == InHeader && !httpguts.ValidHeaderFieldValue(text):
		return fmt.Errorf("the secret has characters that header %s cannot carry, such as a line break", slot.Name)
	case slot.In == InCookie && strings.ContainsFunc(text, notCookie):
		return fmt.Errorf("the secret has characters that cookie %s cannot carry", slot.Name)
	case slot.In == InPath && (text == "." || text == ".." || strings.ContainsFunc(text, control)):
		return errors.New("the secret cannot be a path segment")
	}
	return nil
}

func control(c rune) bool { return c < 0x20 || c == 0x7f }

// notCookie is RFC 6265 section 4.1.1 without the quotes.
func notCookie(c rune) bool {
	return c <= 0x20 || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\'
}

// asIs and prefixed format header values.
func asIs(s string) string { return s }

func prefixed(prefix string) func(string) string {
	prefix = strings.TrimSpace(prefix)
	if prefix == "" {
		return asIs
	}
	if c := prefix[len(prefix)-1]; c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' {
		prefix += " "
	}
	return func(s string) string { return prefix + s }
}

// apply writes the value at its slot, which clear has emptied before.
func (x *value) apply(r *http.Request) { x.slot.write(r, *x.text.Load()) }

// write writes a text, which checkValue has judged, at an emptied slot.
func (s Slot) write(r *http.Request, text string) {
	switch s.In {
	case InHeader:
		r.Header[s.Name] = []string{text}
	case InQuery:
		pair := url.QueryEscape(s.Name) + "=" + url.QueryEscape(text)
		if r.URL.RawQuery != "" {
			pair = r.URL.RawQuery + "&" + pair
		}
		r.URL.RawQuery = pair
	case InCookie:
		pair := s.Name + "=" + text
		if old := strings.Join(r.Header["Cookie"], "; "); old != "" {
			pair = old + "; " + pair
		}
		r.Header["Cookie"] = []string{pair}
	case InPath:
		joinPath(r.URL, "/"+text, "/"+url.PathEscape(text))
	}
}

// joinPath puts a base before the URL's path, in both its forms.
func joinPath(u *url.URL, base, escapedBase string) {
	if base == "" {
		return
	}
	escaped := u.EscapedPath()
	u.Path = base + u.Path
	u.RawPath = escapedBase + escaped
}
