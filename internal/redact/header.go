package redact

import "strings"

// password finds the user information of a URL whose scheme ends at text[colon]
// (RFC 3986 section 3.2.1) and returns where its password is; without a colon in it all
// of it, because it is then a token.
func password(text string, colon int) span {
	rest, found := strings.CutPrefix(text[colon:], "://")
	if !found {
		return span{}
	}
	start := colon + len("://")
	if end := strings.IndexAny(rest, "/?# \t\r\n\"<>"); end >= 0 {
		rest = rest[:end]
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return span{}
	}
	if user := strings.IndexByte(rest[:at], ':'); user >= 0 {
		return span{start + user + 1, start + at}
	}
	return span{start, start + at}
}

// member looks at the "name":"value", Name: value or Name:[value] around text[colon].
func (s *nameSet) member(text string, colon int) span {
	end := colon
	for end > 0 && strings.IndexByte(" \"'\\", text[end-1]) >= 0 {
		end--
	}
	start := end
	for start > 0 && (!startsName(text[start-1]) && text[start-1] != '[') {
		start--
	}
	if s.class(text[start:end])&asField == 0 {
		return span{}
	}
	from := colon + 1
	for from < len(text) && (text[from] == ' ' || text[from] == '\t') {
		from++
	}
	return memberValue(text, from)
}

// memberValue returns what to hide of the value that begins at from.
func memberValue(text string, from int) span {
	rest := text[from:]
	switch {
	case strings.HasPrefix(rest, `"`):
		return span{from + 1, max(quoteEnd(text, from)-1, from+1)}
	case strings.HasPrefix(rest, `\"`):
		if i := strings.Index(rest[2:], `\"`); i >= 0 {
			return span{from + 2, from + 2 + i}
		}
		return span{from + 2, len(text)}
	case strings.HasPrefix(rest, "["):
		if i := strings.IndexByte(rest, ']'); i >= 0 {
			return span{from + 1, from + i}
		}
		return span{from + 1, len(text)}
	}
	if !credentialLike(rest) {
		return span{}
	}
	if i := strings.IndexAny(rest, "\r\n"); i >= 0 {
		rest = rest[:i]
	}
	return span{from, from + len(rest)}
}

// quoteEnd returns where the JSON string that begins at text[from] ends, behind its
// closing quote if it has one.
func quoteEnd(text string, from int) int {
	for i := from + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// credentialLike tells "Authorization: Bearer x" and "X-Api-Key: 3f9a…" from prose such
// as "authorization: the header is missing": there is a scheme in front, or a digit or a
// = in the first word.
func credentialLike(value string) bool {
	first := value
	if i := strings.IndexAny(value, " \t\r\n"); i >= 0 {
		first = value[:i]
	}
	switch strings.ToLower(first) {
	case "bearer", "basic", "digest", "dpop", "token", "apikey", "negotiate":
		return len(value) > len(first)+1 && value[len(first)] == ' '
	}
	return strings.ContainsAny(first, "0123456789=")
}
