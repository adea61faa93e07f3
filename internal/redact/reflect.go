package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Value returns v in the form that JSON gives it (maps, slices, strings, numbers) without
// credentials, at every depth: members with a sensitive name, {"name":…,"value":…} pairs
// as of cookies, and what Text finds in strings. Errors are those of encoding/json.
func (n *Names) Value(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, int, int64, float64:
		return v, nil
	case string:
		return n.Text(v), nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a log field: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var plain any
	if err := dec.Decode(&plain); err != nil {
		return nil, fmt.Errorf("reading a log field back: %w", err)
	}
	return n.plain(plain), nil
}

// plain scrubs a decoded JSON value in place.
func (n *Names) plain(v any) any {
	switch v := v.(type) {
	case string:
		return n.Text(v)
	case []any:
		for i := range v {
			v[i] = n.plain(v[i])
		}
	case map[string]any:
		n.object(v)
	}
	return v
}

func (n *Names) object(m map[string]any) {
	named := false
	for key, v := range m {
		if name, ok := v.(string); ok && strings.EqualFold(key, "name") && n.sensitive(name) {
			named = true
		}
	}
	for key, v := range m {
		switch s, isText := v.(string); {
		case v == nil:
		case n.sensitive(key), named && strings.EqualFold(key, "value"):
			m[key] = Redacted
		case isText && IsURIKey(key):
			m[key] = n.URI(s)
		default:
			m[key] = n.plain(v)
		}
	}
}

// sensitive is Field, and query parameters and cookies too: a structure may hold them.
func (n *Names) sensitive(name string) bool {
	return n.current.Load().class(name)&(asField|asPair) != 0
}

// IsURIKey reports whether the value of a log field called key is a URI by definition,
// even if it has blanks or quotes in it.
func IsURIKey(key string) bool {
	if len(key) < 3 || len(key) > 16 {
		return false
	}
	var room [16]byte
	switch string(appendFolded(room[:0], key)) {
	case "uri", "url", "request-uri", "original-uri", "query", "raw-query", "rawquery", "requesturi",
		"referer", "referrer", "location", "content-location",
		"x-forwarded-uri", "x-original-url", "x-original-uri", "x-rewrite-url":
		return true
	}
	return false
}
