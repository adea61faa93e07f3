package dpop

import "strings"

// sameURL reports whether htu names the request's URL, without regard to query and
// fragment (RFC 9449 section 4.3, step 9). Both are normalised first by syntax and by
// scheme (RFC 3986 sections 6.2.2 and 6.2.3), as clients write the same URL in several
// ways.
//
// Dot segments are taken out of htu alone: a request that really has them is not the same
// to all servers, and never matches.
func sameURL(htu string, r Request) bool {
	scheme, rest, ok := strings.Cut(htu, "://")
	if !ok {
		return false
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	said, ok := normalURL(scheme, authority, path)
	if !ok {
		return false
	}
	said.path = withoutDots(said.path)
	path, _, _ = strings.Cut(r.Path, "?")
	is, ok := normalURL(r.Scheme, r.Host, path)
	return ok && said == is
}

// comparableURL is a URL in the one form in which it is compared.
type comparableURL struct{ scheme, host, port, path string }

// normalURL refuses what is not an HTTP URL with a host.
func normalURL(scheme, authority, path string) (u comparableURL, ok bool) {
	var standard string
	switch u.scheme = strings.ToLower(scheme); u.scheme {
	case "http":
		standard = "80"
	case "https":
		standard = "443"
	default:
		return u, false
	}
	if u.host, u.port, ok = splitAuthority(authority); !ok {
		return u, false
	}
	if u.port == standard {
		u.port = ""
	}
	u.path, ok = normalPath(path)
	return u, ok
}

// What hosts and ports are written with. Everything else is refused: user names and
// percent-encoding above all, in which a URL can hide where it leads, and letters outside
// ASCII, some of which become ASCII in lower case.
const (
	digits   = "0123456789"
	nameSet  = digits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._"
	inIPv6   = digits + "abcdefABCDEF:."
	pathRest = "/!$&'()*+,;=:@" // of a path, beside what is unreserved (RFC 3986 section 3.3)
)

func only(set, s string) bool { return strings.Trim(s, set) == "" }

func splitAuthority(authority string) (host, port string, ok bool) {
	host = authority
	// the last colon that is not one of an IPv6 address
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
	}
	if inner, is := strings.CutPrefix(host, "["); is {
		inner, ok = strings.CutSuffix(inner, "]")
		ok = ok && inner != "" && only(inIPv6, inner)
	} else {
		ok = host != "" && only(nameSet, host)
	}
	return strings.ToLower(host), port, ok && only(digits, port)
}

const upperHex = "0123456789ABCDEF"

// normalPath decodes the characters that never need encoding (RFC 3986 section 2.3) and
// encodes, in upper case, those that no path may have. Reserved characters stay as they
// are, since encoding them changes what they mean. The empty path is "/".
func normalPath(path string) (normal string, ok bool) {
	if path == "" {
		return "/", true
	}
	var b strings.Builder
	b.Grow(len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		encoded := !unreserved(c) && strings.IndexByte(pathRest, c) < 0
		if c == '%' {
			high, low := hexDigit(path, i+1), hexDigit(path, i+2)
			if high < 0 || low < 0 {
				return "", false
			}
			i += 2
			c = byte(high<<4 | low)
			encoded = !unreserved(c)
		}
		if encoded {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// hexDigit returns the value of the digit at i, -1 if there is none.
func hexDigit(s string, i int) int {
	if i >= len(s) {
		return -1
	}
	c := s[i]
	if 'a' <= c && c <= 'f' {
		c -= 'a' - 'A'
	}
	return strings.IndexByte(upperHex, c)
}

// withoutDots takes the segments "." and ".." out of an absolute path (RFC 3986 section
// 5.2.4).
func withoutDots(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	var kept []string
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		switch segment {
		default:
			kept = append(kept, segment)
			continue
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		case ".":
		}
		if i == len(segments)-1 { // "/a/." is the folder
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}
