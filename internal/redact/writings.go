package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

// writing is a secret as it may stand in a log.
type writing struct {
	text   string
	base64 bool
}

// writings lists the different forms of a secret of at least minValue bytes; each has at
// least that length too.
func writings(value string) []writing {
	var out []writing
	seen := make(map[string]bool)
	add := func(text string, base64 bool) {
		if len(text) >= window && !seen[text] {
			seen[text] = true
			out = append(out, writing{text, base64})
		}
	}
	query, path := url.QueryEscape(value), url.PathEscape(value)
	for _, s := range []string{value, query, lowerHex(query), strings.ReplaceAll(query, "+", "%20"), path, lowerHex(path)} {
		add(s, false)
		for _, html := range []bool{false, true} {
			once := inJSON(s, html)
			add(once, false)
			add(inJSON(once, html), false)
		}
	}
	for offset := range 3 {
		core := base64Core(value, offset)
		add(core, true)
		add(strings.NewReplacer("+", "-", "/", "_").Replace(core), true)
	}
	return out
}

// inJSON is the inside of the JSON string for s; html escapes < > & as encoding/json does
// by default.
func inJSON(s string, html bool) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(html)
	if err := enc.Encode(s); err != nil {
		return s // a string always encodes
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(buf.String()), `"`), `"`)
}

var hexPair = regexp.MustCompile(`%[0-9A-F]{2}`)

func lowerHex(s string) string { return hexPair.ReplaceAllStringFunc(s, strings.ToLower) }

// base64Core is the part of the base64 text (RFC 4648 section 4) of anything that has
// value behind offset other bytes (modulo 3) which depends on value alone. Of eight
// bytes it has ten characters.
func base64Core(value string, offset int) string {
	text := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), value...))
	first := (offset*8 + 5) / 6
	last := (offset + len(value)) * 8 / 6
	return text[first:last]
}
