package rule

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// DefaultMaxBody is how large a body may be, in bytes, to be judged.
const DefaultMaxBody = 1 << 20

// Body is a request's body for rules that look into it. It is read at most once, when a
// rule needs it, and forwarded whole all the same: it takes the place of the request's
// body and replays what it has read. The replay is here and not in the request, so it
// holds for copies of the request too, whenever they were made. The original body is read
// to its end through here, so net/http fills in trailers as ever.
//
// A Body belongs to the request's goroutine until the request is forwarded; what was
// forwarded can no longer be judged.
type Body struct {
	header http.Header
	length int64
	orig   io.ReadCloser
	max    int64

	loaded  bool
	started bool   // forwarding has begun
	read    []byte // not yet replayed
	rest    error  // what reading ended with, if it did
	doc     any
	err     error
	found   map[string][]any // what JSONPaths have selected
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
	b.started = true
	if len(b.read) > 0 {
		n := copy(p, b.read)
		b.read = b.read[n:]
		if len(b.read) == 0 {
			b.read = nil
		}
		return n, nil
	}
	if b.rest != nil {
		return 0, b.rest
	}
	return b.orig.Read(p)
}

// Close implements io.Closer.
func (b *Body) Close() error { return b.orig.Close() }

// document returns the body as JSON values, numbers as json.Number. It says why if the
// body cannot be judged; the answer is the same for every scope.
func (b *Body) document() (any, error) {
	if !b.loaded {
		b.loaded = true
		b.doc, b.err = b.load()
	}
	return b.doc, b.err
}

// nodes returns what a JSONPath, written as name, selects. Rules tend to ask for the same
// few nodes, so each path is followed once.
func (b *Body) nodes(name string, path *JSONPath) ([]any, error) {
	doc, err := b.document()
	if err != nil {
		return nil, err
	}
	nodes, ok := b.found[name]
	if !ok {
		if b.found == nil {
			b.found = make(map[string][]any)
		}
		if nodes, err = path.Select(doc); err != nil {
			return nil, err
		}
		b.found[name] = nodes
	}
	return nodes, nil
}

func (b *Body) load() (any, error) {
	if b.started {
		return nil, errors.New("it has been forwarded already, in part at least")
	}
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
