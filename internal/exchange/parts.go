package exchange

import (
	"net/http"
	"net/url"
	"strings"
)

// WithoutParameter removes a parameter, in any spelling of its name, from a raw query and
// leaves every other byte alone. Some servers separate pairs with ; as well.
func WithoutParameter(raw, name string) string {
	if raw == "" {
		return raw
	}
	var out strings.Builder
	sep, found := "", false
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
			found = true
			continue
		}
		out.WriteString(sep)
		out.WriteString(pair)
		sep = next
	}
	if !found {
		return raw
	}
	return out.String()
}

// RemoveCookie removes a cookie from a request's Cookie fields and leaves the others.
func RemoveCookie(h http.Header, name string) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return
	}
	var kept []string
	found := false
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimSpace(part)
			k, _, _ := strings.Cut(part, "=")
			switch {
			case part == "":
			case strings.TrimSpace(k) == name:
				found = true
			default:
				kept = append(kept, part)
			}
		}
	}
	if !found {
		return
	}
	delete(h, "Cookie")
	if len(kept) > 0 {
		h["Cookie"] = []string{strings.Join(kept, "; ")}
	}
}
