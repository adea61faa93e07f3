package redact

import (
	"strings"
)

// maxNesting is how many layers of percent-encoding are looked through.
const maxNesting = 4

// URI hides the credentials in a URI, a request target or a bare query string: the value
// of each sensitive parameter in query and fragment, and the password of the authority.
// Everything else stays byte for byte.
//
// Parameters begin behind any of ? & ; # because servers differ in what separates them.
// A hidden value ends only at &, for the same reason: of "token=a;b=c" one server takes
// "a" for the token, another one "a;b=c".
func (n *Names) URI(s string) string {
	return n.current.Load().scrub(s, true, 0)
}

// Text hides the credentials in free text, such as a message or the text of an error: in
// URLs, in name=value, in the JSON form "name":"value", in "Name: value" of a header if
// the value looks like a credential, and in Go's print of a header, Name:[value]. Text
// that is nothing but a URL is treated as by URI.
func (n *Names) Text(s string) string {
	if len(s) < 3 || nextMark(s, 0) < 0 {
		return s
	}
	return n.current.Load().scrub(s, isURL(s), 0)
}

// isURL reports whether all of s is one URL or one path.
func isURL(s string) bool {
	if strings.ContainsAny(s, " \t\r\n") {
		return false
	}
	if s[0] == '/' || s[0] == '?' {
		return true
	}
	scheme, _, found := strings.Cut(s, "://")
	return found && !strings.ContainsAny(scheme, "\"'<>{}[]()=,`")
}

// span is a part of a text that has to go.
type span struct{ from, to int }

func (s *nameSet) scrub(text string, uri bool, depth int) string {
	var out strings.Builder
	done := 0
	for at := 0; at < len(text); {
		hide, next := s.find(text, at, done, uri, depth)
		if next < 0 {
			break
		}
		if hide.to > hide.from && text[hide.from:hide.to] != Redacted {
			out.WriteString(text[done:hide.from])
			out.WriteString(Redacted)
			done = hide.to
		}
		at = next
	}
	if done == 0 {
		return text
	}
	out.WriteString(text[done:])
	return out.String()
}

// find looks at the first mark (= : %) at or behind at. It returns what has to be hidden
// there, perhaps nothing, and where to go on; next is -1 when there are no more marks.
// What stands before done is written already.
func (s *nameSet) find(text string, at, done int, uri bool, depth int) (hide span, next int) {
	i := nextMark(text, at)
	if i < 0 {
		return span{}, -1
	}
	switch text[i] {
	case '=':
		hide = s.pair(text, i, uri)
	case ':':
		if hide = password(text, i); hide.to == 0 && !uri {
			hide = s.member(text, i)
		}
	case '%':
		return s.nested(text, i, done, uri, depth)
	}
	return hide, max(i+1, hide.to)
}

// nextMark returns where the next mark (= : %) is, or -1.
func nextMark(text string, at int) int {
	for ; at < len(text); at++ {
		if c := text[at]; c == '=' || c == ':' || c == '%' {
			return at
		}
	}
	return -1
}

// pair looks at the name=value around text[eq].
func (s *nameSet) pair(text string, eq int, uri bool) span {
	start := eq
	for start > 0 && !startsName(text[start-1]) {
		start--
	}
	c := s.encoded(text[start:eq])
	if c&asPair == 0 {
		if c&asParam == 0 {
			return span{}
		}
		behind := start > 0 && strings.IndexByte("?&;#", text[start-1]) >= 0
		if !behind && !(uri && start == 0) {
			return span{}
		}
	}
	return span{eq + 1, valueEnd(text, eq+1, uri)}
}

// startsName reports whether a parameter's name can begin behind c.
func startsName(c byte) bool {
	switch c {
	case '?', '&', ';', '#', ' ', '\t', '\r', '\n', '"', '\'', '<', '>', '`', ',', '(', '{', '/', '=', ':':
		return true
	}
	return false
}

// valueEnd returns where the value that begins at from ends.
func valueEnd(text string, from int, uri bool) int {
	if uri {
		if i := strings.IndexByte(text[from:], '&'); i >= 0 {
			return from + i
		}
		return len(text)
	}
	if from < len(text) && text[from] == '"' {
		return quoteEnd(text, from)
	}
	for i := from; i < len(text); i++ {
		switch text[i] {
		case '&', ' ', '\t', '\r', '\n', '<', '>', '`':
			return i
		case '"':
			if i == from || text[i-1] != '\\' {
				return i
			}
		case ';':
			if i+1 < len(text) && text[i+1] == ' ' {
				return i
			}
		}
	}
	return len(text)
}

// nested looks at the piece of text around a percent sign: what it says when decoded may
// be a URL, or form fields, with credentials of their own (?next=https%3A%2F%2F…). If so
// all of the piece goes, as its inside cannot be told apart any more.
func (s *nameSet) nested(text string, percent, done int, uri bool, depth int) (hide span, next int) {
	start := percent
	for start > done && !endsPiece(text[start-1], uri) {
		start--
	}
	end := percent
	for end < len(text) && !endsPiece(text[end], uri) {
		end++
	}
	piece := text[start:end]
	if i := strings.IndexByte(piece, '='); i >= 0 && start+i > percent {
		// the percent sign is in the name: this is a pair for find to look at
		return span{}, start + i
	} else if i >= 0 {
		start += i + 1
		piece = text[start:end]
	}
	plain := unescape(piece)
	if plain == piece {
		return span{}, end
	}
	if depth >= maxNesting || s.scrub(plain, true, depth+1) != plain || s.scrub(plain, false, depth+1) != plain {
		return span{start, end}, end
	}
	return span{}, end
}

// endsPiece reports whether c stands between pieces that are encoded each on its own.
func endsPiece(c byte, uri bool) bool {
	switch c {
	case '?', '&', '#', ';':
		return true
	case ' ', '\t', '\r', '\n', '"', '<', '>', '`':
		return !uri
	}
	return false
}

// unescape decodes %xx and leaves alone what is not that.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi >= 0 && lo >= 0 {
				out.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
