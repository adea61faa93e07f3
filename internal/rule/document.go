package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how many lists and objects of a JSON body may be inside one another.
const maxDepth = 64

var (
	errJSON  = errors.New("it is not valid JSON")
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

// parseJSON is encoding/json's decoding into any, with numbers as json.Number, of what
// every server reads alike.
func parseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errJSON
	}
	if hasLoneSurrogate(data) {
		return nil, errors.New("it has half a surrogate pair, which is no character")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return decode(dec, 0)
}

// hasLoneSurrogate reports whether valid JSON has an escape that is no character (RFC
// 8259 section 8.2): some servers drop it, some replace it, some refuse.
func hasLoneSurrogate(data []byte) bool {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 {
			return false
		}
		data = data[i:]
		switch unit := escapedUnit(data); {
		case unit < 0xd800 || unit > 0xdfff:
			data = data[2:]
		case unit > 0xdbff: // a second half
			return true
		default:
			if next := escapedUnit(data[6:]); next < 0xdc00 || next > 0xdfff {
				return true
			}
			data = data[12:]
		}
	}
}

// escapedUnit returns the UTF-16 unit of the \uXXXX that data begins with, else -1.
func escapedUnit(data []byte) int {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(unit)
}

// decode refuses member names that are there twice, also in another case: servers differ
// in which one they take.
func decode(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, errJSON
	}
	bracket, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == maxDepth {
		return nil, errors.New("it is nested too deeply")
	}
	if bracket == '{' {
		return decodeObject(dec, depth+1)
	}
	list := []any{}
	for dec.More() {
		v, err := decode(dec, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err = dec.Token()
	return list, err
}

func decodeObject(dec *json.Decoder, depth int) (any, error) {
	object := make(map[string]any)
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, errJSON
		}
		name, _ := token.(string)
		if strings.IndexByte(name, 0) >= 0 {
			return nil, errNUL
		}
		f := fold(name)
		if seen[f] {
			return nil, errors.New("it has a member twice")
		}
		seen[f] = true
		if object[name], err = decode(dec, depth); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return object, err
}
