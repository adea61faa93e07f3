package rule

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

var (
	errForm  = errors.New("it is not a valid form")
	errField = errors.New("it has a field twice")
	errNUL   = errors.New("it has a NUL in a name") // where some servers end the name
)

// parseForm returns the fields of a form, as strings.
func parseForm(data []byte) (any, error) {
	pairs, err := parseQuery(string(data))
	if err != nil || bytes.IndexByte(data, ';') >= 0 {
		// some servers take ; for a separator
		return nil, errForm
	}
	doc := make(map[string]any, len(pairs))
	seen := make(map[string]bool, len(pairs))
	for _, p := range pairs {
		if !utf8.ValidString(p.name) || !utf8.ValidString(p.value) {
			return nil, errors.New("it is not UTF-8")
		}
		if strings.IndexByte(p.name, 0) >= 0 {
			return nil, errNUL
		}
		name := fold(p.name)
		if seen[name] {
			return nil, errField
		}
		seen[name] = true
		doc[p.name] = p.value
	}
	for name := range seen {
		// a and a[b] are the same field to servers that build objects of a[b]
		if root, _, ok := strings.Cut(name, "["); ok && seen[root] {
			return nil, errField
		}
	}
	return doc, nil
}

// parseJSON decodes what every server reads alike. Member names that differ in case only
// are the same: servers differ in which one they take.
func parseJSON(data []byte) (any, error) {
	return strictjson.Decode(data, strictjson.Options{Fold: fold})
}
