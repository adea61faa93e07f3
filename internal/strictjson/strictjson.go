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

// Decode is encoding/json's decoding into any, with numbers as json.Number. Strings are
// parts of one copy of the data, which stays as long as one of them. Errors say what is
// wrong with "it", and hold nothing of the data.
func Decode(data []byte, o Options) (any, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errors.New("it is not valid JSON")
	}
	if hasLoneSurrogate(data) {
		return nil, errors.New("it has half a surrogate pair, which is no character")
	}
	d := decoder{string(data), o}
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

// decoder walks through JSON that is known to be valid, which encoding/json's Decoder does
// not know: it would take several times as long, and anybody may send tokens.
type decoder struct {
	rest string
	Options
}

// next returns the byte at which the next token begins.
func (d *decoder) next() byte {
	for {
		switch c := d.rest[0]; c {
		case ' ', '\t', '\r', '\n':
			d.rest = d.rest[1:]
		default:
			return c
		}
	}
}

// ends reports whether the list or object ends here. It reads the closing bracket, or the
// comma before the next item.
func (d *decoder) ends(closing byte) bool {
	switch d.next() {
	case closing:
		d.rest = d.rest[1:]
		return true
	case ',':
		d.rest = d.rest[1:]
	}
	return false
}

func (d *decoder) value(depth int) (any, error) {
	c := d.next()
	switch c {
	case '{', '[':
		if depth == MaxDepth {
			return nil, errors.New("it is nested too deeply")
		}
		d.rest = d.rest[1:]
		if c == '{' {
			return d.object(depth + 1)
		}
		return d.list(depth + 1)
	case '"':
		s, err := d.text()
		if err != nil {
			return nil, err
		}
		if d.NoNUL && strings.IndexByte(s, 0) >= 0 {
			return nil, errors.New("it has a NUL in a string")
		}
		return s, nil
	case 't':
		d.rest = d.rest[len("true"):]
		return true, nil
	case 'f':
		d.rest = d.rest[len("false"):]
		return false, nil
	case 'n':
		d.rest = d.rest[len("null"):]
		return nil, nil
	}
	end := 1
	for end < len(d.rest) && strings.IndexByte("0123456789.eE+-", d.rest[end]) >= 0 {
		end++
	}
	n := json.Number(d.rest[:end])
	d.rest = d.rest[end:]
	return n, nil
}

// text reads a string.
func (d *decoder) text() (s string, err error) {
	end, escaped := 1, false
	for d.rest[end] != '"' {
		if d.rest[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	quoted := d.rest[:end+1]
	d.rest = d.rest[end+1:]
	if !escaped {
		return quoted[1:end], nil
	}
	if err = json.Unmarshal([]byte(quoted), &s); err != nil {
		return "", errors.New("it is not valid JSON")
	}
	return s, nil
}

func (d *decoder) list(depth int) (any, error) {
	list := []any{}
	for !d.ends(']') {
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (d *decoder) object(depth int) (any, error) {
	object := make(map[string]any)
	var folded map[string]bool
	if d.Fold != nil {
		folded = make(map[string]bool)
	}
	for !d.ends('}') {
		d.next()
		name, err := d.text()
		if err != nil {
			return nil, err
		}
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
		d.next()
		d.rest = d.rest[len(":"):]
		if object[name], err = d.value(depth); err != nil {
			return nil, err
		}
	}
	return object, nil
}
