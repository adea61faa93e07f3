package rule

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ErrBadPath says that a path is refused before any rule judges it.
var ErrBadPath = errors.New("the path is not acceptable")

// CanonicalPath returns the path that rules judge, or ErrBadPath with the reason if
// servers could understand the path in more than one way: dot segments, empty segments,
// encoded slashes, backslashes and control characters, in whatever encoding. What is
// sent is u.EscapedPath(), which decodes to what is judged.
//
// With keepSlash, %2F inside segments is allowed; the path judged then has it (and %25,
// to tell it from text) still encoded. ";" is an ordinary character, but servers that
// cut parameters off segments would see dot segments in "..;x": those are refused too.
func CanonicalPath(u *url.URL, keepSlash bool) (string, error) {
	p := u.Path
	if p == "" || p[0] != '/' {
		return "", bad("it does not begin with a slash")
	}
	if u.Opaque != "" { // would be sent in place of the path
		return "", bad("the URL is opaque")
	}
	if strings.Contains(u.RawQuery, "#") { // upstreams would cut there, rules would not
		return "", bad("the query has a raw #")
	}
	if raw := u.RawPath; raw != "" {
		// EscapedPath falls back to Path's own encoding if RawPath is not one of Path
		if raw != u.EscapedPath() {
			return "", bad("its two forms disagree")
		}
		if keepSlash {
			p = keep(raw)
		} else if hasEscapedSlash(raw) {
			return "", bad("it has an encoded slash")
		}
	} else if keepSlash && strings.Contains(p, "%") {
		p = strings.ReplaceAll(p, "%", "%25")
	}
	for i := range len(p) {
		if c := p[i]; c == '\\' || c < 0x20 || c == 0x7f {
			return "", bad("it has a backslash or a control character")
		}
	}
	if err := segments(p, keepSlash); err != nil {
		return "", err
	}
	return p, nil
}

func bad(why string) error { return fmt.Errorf("%w: %s", ErrBadPath, why) }

func hasEscapedSlash(raw string) bool {
	for {
		i := strings.IndexByte(raw, '%')
		if i < 0 || i+2 >= len(raw) {
			return false
		}
		if raw[i+1] == '2' && raw[i+2]|0x20 == 'f' {
			return true
		}
		raw = raw[i+3:]
	}
}

// keep decodes everything but %2F and %25.
func keep(raw string) string {
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			b.WriteByte(raw[i])
			continue
		}
		c := unhex(raw[i+1])<<4 | unhex(raw[i+2])
		switch c {
		case '/':
			b.WriteString("%2F")
		case '%':
			b.WriteString("%25")
		default:
			b.WriteByte(c)
		}
		i += 2
	}
	return b.String()
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// segments refuses empty and dot segments; a trailing slash is no empty segment.
func segments(p string, keepSlash bool) error {
	if keepSlash && strings.Contains(p, "%2F") {
		p = strings.ReplaceAll(p, "%2F", "/")
	}
	for rest := p[1:]; rest != ""; {
		var segment string
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			segment, rest = rest, ""
		} else {
			segment, rest = rest[:i], rest[i+1:]
		}
		if segment == "" {
			return bad("it has an empty segment")
		}
		if segment[0] == '.' {
			if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
				return bad("it has a dot segment")
			}
		}
	}
	return nil
}
