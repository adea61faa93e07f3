// Package strictjson decodes JSON only where every reader agrees what it says. Members
// that are there twice, half surrogate pairs, NUL in names and the like are read in one
// way by some programs and in another by others, and whoever checks must not see
// something else than whoever acts.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDepth bounds how many lists and objects may be inside one another.
const MaxDepth = 64

// Options say what else is refused.
type Options struct {
	// Fold returns the form in which two member names are taken for the same, for
	// readers that ignore case. Default: names differ by their bytes.
	Fold func(string) string
	// NoNUL refuses NUL in strings too, not only in names.
	NoNUL bool
}

// Decode is encoding/json's decoding into any, with numbers as json.Number. Errors say
// what is wrong with "it", and hold nothing of the data.
func Decode(data []byte, o Options) (any, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errors.New("it is not valid JSON")
	}
	if hasLoneSurrogate(data) {
		return nil, errors.New("it has half a surrogate pair, which is no character")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	d := decoder{dec, o}
	return d.value(0)
}

// Object is Decode of what has to be an object.
func Object(data []byte, o Options) (map[string]any, error) {
	v, err := Decode(data, o)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("it is not a JSON object")
	}
	return object, nil
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

// decoder walks through JSON that is known to be valid.
type decoder struct {
	*json.Decoder
	Options
}

func (d *decoder) value(depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, errors.New("it is not valid JSON")
	}
	switch v := token.(type) {
	case json.Delim:
		if depth == MaxDepth {
			return nil, errors.New("it is nested too deeply")
		}
		if v == '{' {
			return d.object(depth + 1)
		}
		return d.list(depth + 1)
	case string:
		if d.NoNUL && strings.IndexByte(v, 0) >= 0 {
			return nil, errors.New("it has a NUL in a string")
		}
	}
	return token, nil
}

func (d *decoder) list(depth int) (any, error) {
	list := []any{}
	for d.More() {
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.Token()
	return list, err
}

func (d *decoder) object(depth int) (any, error) {
	object := make(map[string]any)
	var folded map[string]bool
	if d.Fold != nil {
		folded = make(map[string]bool)
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, errors.New("it is not valid JSON")
		}
		name, _ := token.(string)
		if strings.IndexByte(name, 0) >= 0 {
			return nil, errors.New("it has a NUL in a name") // where some programs end the name
		}
		_, twice := object[name]
		if d.Fold != nil {
			f := d.Fold(name)
			twice = twice || folded[f]
			folded[f] = true
		}
		if twice {
			return nil, errors.New("it has a member twice")
		}
		if object[name], err = d.value(depth); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, err
}
