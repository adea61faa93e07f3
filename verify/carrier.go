package verify

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Carrier is a place in a request where a credential rides.
type Carrier struct {
	// Where: header, query or cookie.
	In string `json:"in"`
	// The name of the header, query parameter or cookie.
	Name string `json:"name"`
	// What stands before the credential in a header, such as Bearer or Token. A word is
	// followed by a space and compared in any case, as authentication schemes are.
	Prefix string `json:"prefix,omitempty"`
}

// The carriers' places.
const (
	InHeader = "header"
	InQuery  = "query"
	InCookie = "cookie"
)

// Validate checks and normalises a carrier.
func (c *Carrier) Validate() error {
	switch c.In {
	case InHeader:
		if !httpguts.ValidHeaderFieldName(c.Name) {
			return fmt.Errorf("%q is not a header name", c.Name)
		}
		c.Name = http.CanonicalHeaderKey(c.Name)
		if untrusted[c.Name] {
			return fmt.Errorf("header %s cannot carry a credential: it belongs to the connection or the routing", c.Name)
		}
	case InQuery, InCookie:
		if c.Name == "" {
			return fmt.Errorf("the name of the %s is missing", c.In)
		}
		if c.Prefix != "" {
			return fmt.Errorf("a prefix is for headers, not for a %s", c.In)
		}
	default:
		return fmt.Errorf("a credential comes from header, query or cookie, not from %q", c.In)
	}
	c.Prefix = strings.TrimSpace(c.Prefix)
	return nil
}

// untrusted headers are taken away or rewritten on the way through Caddy.
var untrusted = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Host": true, "Content-Length": true, "Cookie": true,
}

// Read returns the carrier's credential without its prefix. ErrAbsent if it is not there
// or has another prefix, ErrRejected if it is there twice.
func (c Carrier) Read(r *http.Request) (string, error) {
	raw, n := readCarrier(r, c.In, c.Name)
	switch {
	case n > 1:
		return "", fmt.Errorf("%w: %s %s is there %d times", ErrRejected, c.In, c.Name, n)
	case raw == "":
		return "", ErrAbsent
	}
	v, ok := cutPrefix(raw, c.Prefix)
	if !ok || v == "" {
		return "", ErrAbsent
	}
	return v, nil
}

// cutPrefix removes a carrier's prefix. Without one the whole value is the credential.
func cutPrefix(raw, prefix string) (string, bool) {
	if prefix == "" {
		return raw, true
	}
	if len(raw) <= len(prefix) || !strings.EqualFold(raw[:len(prefix)], prefix) {
		return "", false
	}
	rest := raw[len(prefix):]
	if !wordEnd(prefix) { // such as "Token token=": the credential follows at once
		return rest, true
	}
	if rest[0] != ' ' && rest[0] != '\t' {
		return "", false
	}
	return strings.Trim(rest, " \t"), true
}

func wordEnd(prefix string) bool {
	c := prefix[len(prefix)-1]
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

// bare is a credential without any authentication scheme before it, for telling whether
// two carriers hold the same one.
func bare(raw string) string {
	if i := strings.IndexAny(raw, " \t"); i > 0 {
		return strings.Trim(raw[i:], " \t")
	}
	return raw
}

// readCarrier returns the raw value at a place and how often the place is there.
func readCarrier(r *http.Request, in, name string) (string, int) {
	switch in {
	case InHeader:
		vals := r.Header[name]
		if len(vals) == 0 {
			return "", 0
		}
		return strings.Trim(vals[0], " \t"), len(vals)
	case InQuery:
		return readQuery(r.URL.RawQuery, name)
	default:
		return readCookie(r.Header["Cookie"], name)
	}
}

// readQuery finds a parameter in a raw query. Some servers take ; for a separator, so a
// parameter hidden behind one counts too; so does another spelling of the name.
func readQuery(raw, name string) (value string, n int) {
	for raw != "" {
		var pair string
		pair, raw = cutPair(raw)
		if key, val, ok := splitPair(pair); ok && strings.EqualFold(key, name) {
			n++
			value = val
		}
	}
	return value, n
}

// cutPair returns the part of a raw query up to the next separator and what follows it.
func cutPair(raw string) (pair, rest string) {
	if i := strings.IndexAny(raw, "&;"); i >= 0 {
		return raw[:i], raw[i+1:]
	}
	return raw, ""
}

func splitPair(pair string) (key, value string, ok bool) {
	key, value, _ = strings.Cut(pair, "=")
	return unescape(key), unescape(value), key != ""
}

// unescape decodes leniently: what cannot be decoded stays as it is.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// eachCookie calls f for each name=value of the Cookie header fields.
func eachCookie(lines []string, f func(pair, name, value string)) {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			part = strings.Trim(part, " \t")
			if part == "" {
				continue
			}
			name, value, _ := strings.Cut(part, "=")
			f(part, strings.Trim(name, " \t"), strings.Trim(value, " \t\""))
		}
	}
}

func readCookie(lines []string, name string) (value string, n int) {
	eachCookie(lines, func(_, k, v string) {
		if k == name {
			n++
			value = v
		}
	})
	return value, n
}

var errTwice = errors.New("a credential carrier is there twice")
var errAmbiguous = errors.New("two different credentials in one request")
