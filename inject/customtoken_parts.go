package inject

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

var partName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// parts are those that there are; true if they are used.
type parts struct{ known map[string]bool }

// take takes a text apart.
func (u *parts) take(text string) ([]piece, error) {
	list := pieces(text)
	for _, p := range list {
		name := p.root + "." + p.rest
		_, known := u.known[name]
		switch {
		case !p.isPlaceholder():
		case known:
			u.known[name] = true
		case p.root == "env", p.root == "file":
			return nil, fmt.Errorf("%s does not stand in a text: write {secret.x} there and define it with `secret x %s`", p.text, p.text)
		case isOfCaller(p):
			return nil, fmt.Errorf("%s is not known here: the token is one for all callers", p.text)
		default:
			return nil, unknownPlaceholder(p, "{secret.<name>}, {jwt.<name>} of those that are defined")
		}
	}
	return list, nil
}

func (u *parts) unused() error {
	for _, name := range slices.Sorted(maps.Keys(u.known)) {
		kind, own, _ := strings.Cut(name, ".")
		if !partName.MatchString(own) {
			return fmt.Errorf("%s %q: a name has letters, digits, - and _", kind, own)
		}
		if !u.known[name] {
			return fmt.Errorf("%s %s is not used; write {%s} where it belongs", kind, own, name)
		}
	}
	return nil
}

// judgeJSON tells whether a body is JSON, and whether its parts stand inside of texts.
func judgeJSON(body []piece) (inStrings, valid bool) {
	var plain strings.Builder
	inStrings = true
	in, escaped := false, false
	for _, p := range body {
		if p.isPlaceholder() {
			inStrings = inStrings && in && !escaped
			plain.WriteByte('0') // valid inside a text and outside
			continue
		}
		plain.WriteString(p.text)
		for _, c := range []byte(p.text) {
			switch {
			case escaped:
				escaped = false
			case in && c == '\\':
				escaped = true
			case c == '"':
				in = !in
			}
		}
	}
	return inStrings, json.Valid([]byte(plain.String()))
}

// encoder writes a part for where it stands. Its error says what it cannot write, not
// the part.
type encoder func(part string) (string, error)

func asItIs(part string) (string, error) { return part, nil }

func encodeForm(part string) (string, error) { return url.QueryEscape(part), nil }

func encodeJSON(part string) (string, error) {
	if !utf8.ValidString(part) {
		return "", errors.New("it is not UTF-8, as JSON has to be")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(part); err != nil {
		return "", errors.New("it cannot be written in JSON")
	}
	return strings.TrimSuffix(strings.TrimPrefix(b.String(), `"`), "\"\n"), nil
}

func encodeXML(part string) (string, error) {
	for _, c := range part {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == utf8.RuneError || c == 0xfffe || c == 0xffff {
			return "", errors.New("it has characters that XML cannot carry")
		}
	}
	var b bytes.Buffer
	err := xml.EscapeText(&b, []byte(part))
	return b.String(), err
}

// encodePath writes a part for the URL's path, where it must not change segments.
func encodePath(part string) (string, error) {
	if part == "." || part == ".." {
		return "", errors.New("it cannot be a segment of a path")
	}
	return url.PathEscape(part), nil
}

// fill writes the parts into a text.
func fill(list []piece, values map[string]string, encode encoder) (string, error) {
	var b strings.Builder
	for _, p := range list {
		if !p.isPlaceholder() {
			b.WriteString(p.text)
			continue
		}
		name := p.root + "." + p.rest
		text, err := encode(values[name])
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if text == "" {
			return "", fmt.Errorf("%s is empty", name)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}
