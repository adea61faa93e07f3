package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

// DefaultMaxBody is how large a body may be, in bytes, to be judged.
const DefaultMaxBody = 1 << 20

// maxDepth bounds how deep a JSON body may be nested.
const maxDepth = 64

// Body is a request's body for rules that look into it. It is read at most once, when a
// rule needs it, and forwarded whole all the same: it takes the place of the request's
// body and replays what it has read, also in copies of the request.
type Body struct {
	header http.Header
	length int64
	orig   io.ReadCloser
	max    int64

	loaded bool
	read   []byte // not yet replayed
	rest   error  // what reading ended with, if it did
	doc    any
	err    error
}

// NewBody takes the place of r's body. max is in bytes, 0 for DefaultMaxBody.
func NewBody(r *http.Request, max int64) *Body {
	if max <= 0 {
		max = DefaultMaxBody
	}
	b := &Body{header: r.Header, length: r.ContentLength, orig: r.Body, max: max}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = b
	}
	return b
}

// Read implements io.Reader with the whole body.
func (b *Body) Read(p []byte) (int, error) {
	if len(b.read) > 0 {
		n := copy(p, b.read)
		b.read = b.read[n:]
		return n, nil
	}
	if b.rest != nil {
		return 0, b.rest
	}
	return b.orig.Read(p)
}

// Close implements io.Closer.
func (b *Body) Close() error { return b.orig.Close() }

// document returns the body as JSON values, numbers as json.Number.
func (b *Body) document() (any, error) {
	if !b.loaded {
		b.loaded = true
		b.doc, b.err = b.load()
	}
	return b.doc, b.err
}

func (b *Body) load() (any, error) {
	parse, err := b.parser()
	if err != nil {
		return nil, err
	}
	if b.orig == nil || b.orig == http.NoBody || b.length == 0 {
		return nil, errors.New("it is missing")
	}
	if b.length > b.max {
		return nil, fmt.Errorf("it has %d bytes, at most %d can be judged", b.length, b.max)
	}
	data, err := io.ReadAll(io.LimitReader(b.orig, b.max+1))
	b.read = data
	if err != nil {
		b.rest = err
		return nil, errors.New("it could not be read")
	}
	if int64(len(data)) > b.max {
		return nil, fmt.Errorf("it has more than the %d bytes that can be judged", b.max)
	}
	b.rest = io.EOF
	if len(data) == 0 {
		return nil, errors.New("it is missing")
	}
	return parse(data)
}

// parser chooses how to read the body by what the request says it is.
func (b *Body) parser() (func([]byte) (any, error), error) {
	for _, coding := range b.header["Content-Encoding"] {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return nil, errors.New("it is compressed")
		}
	}
	types := b.header["Content-Type"]
	if len(types) != 1 {
		return nil, errors.New("it has no Content-Type, or several")
	}
	mediaType, params, err := mime.ParseMediaType(types[0])
	if err != nil {
		return nil, errors.New("its Content-Type cannot be read")
	}
	if cs, ok := params["charset"]; ok && !strings.EqualFold(cs, "utf-8") {
		return nil, errors.New("its charset is not UTF-8")
	}
	switch {
	case mediaType == "application/json", strings.HasSuffix(mediaType, "+json"):
		return parseJSON, nil
	case mediaType == "application/x-www-form-urlencoded":
		return parseForm, nil
	}
	return nil, errors.New("it is neither JSON nor a form")
}

func parseForm(data []byte) (any, error) {
	pairs, err := parseQuery(string(data))
	if err != nil || bytes.IndexByte(data, ';') >= 0 {
		// some servers take ; for a separator
		return nil, errors.New("it is not a valid form")
	}
	doc := make(map[string]any, len(pairs))
	seen := make(map[string]bool, len(pairs))
	for _, p := range pairs {
		if f := fold(p.name); seen[f] {
			return nil, errors.New("it has a field twice")
		} else if !utf8.ValidString(p.name) || !utf8.ValidString(p.value) {
			return nil, errors.New("it is not UTF-8")
		} else {
			seen[f] = true
		}
		doc[p.name] = p.value
	}
	return doc, nil
}

func parseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errors.New("it is not valid JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return decode(dec, 0)
}

// decode is encoding/json's decoding into any, but refuses member names that are there
// twice, also in another case: parsers differ in which one they take.
func decode(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("it is nested too deeply")
	}
	token, err := dec.Token()
	if err != nil {
		return nil, errors.New("it is not valid JSON")
	}
	switch token {
	case json.Delim('['):
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
	case json.Delim('{'):
		return decodeObject(dec, depth)
	}
	return token, nil
}

func decodeObject(dec *json.Decoder, depth int) (any, error) {
	object := make(map[string]any)
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		f := fold(name)
		if seen[f] {
			return nil, errors.New("it has a member twice")
		}
		seen[f] = true
		if object[name], err = decode(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return object, err
}
