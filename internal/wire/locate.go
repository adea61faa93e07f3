package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// locate says where in a body it is that strictjson refuses. It walks through the body a
// second time, token by token.
func locate(body []byte, refusal error) Fault {
	w := &walk{body: body, decoder: json.NewDecoder(bytes.NewReader(body))}
	w.decoder.UseNumber()
	for {
		found, err := w.next()
		switch {
		case found != nil:
			return *found
		case errors.Is(err, io.EOF):
			return Fault{w.place(), refusal.Error()}
		case err != nil:
			return Fault{w.place(), fmt.Sprintf("it is not valid JSON, at byte %d of the body or after it", w.decoder.InputOffset())}
		}
	}
}

// walk is a walk through a body.
type walk struct {
	body    []byte
	decoder *json.Decoder
	inside  []container
}

// container is a list or an object, and how far it has been read.
type container struct {
	object bool
	seen   map[string]bool
	name   string // of the member that follows or is being read
	named  bool   // a name was read, and its value follows
	index  int
}

// next reads one token and says what is wrong with it.
func (w *walk) next() (*Fault, error) {
	begin := w.decoder.InputOffset()
	token, err := w.decoder.Token()
	if err != nil {
		return nil, err
	}
	raw := bytes.TrimLeft(w.body[begin:w.decoder.InputOffset()], " \t\r\n,:")
	top := w.top()
	if delim, ok := token.(json.Delim); ok {
		return w.delimiter(delim), nil
	}
	if name, ok := token.(string); ok && top != nil && top.object && !top.named {
		return w.name(name, raw), nil
	}
	if _, ok := token.(string); ok {
		if _, err := strictjson.Decode(raw, bodyOptions); err != nil {
			return &Fault{w.place(), err.Error()}, nil
		}
	}
	w.passed()
	return nil, nil
}

func (w *walk) top() *container {
	if len(w.inside) == 0 {
		return nil
	}
	return &w.inside[len(w.inside)-1]
}

func (w *walk) delimiter(d json.Delim) *Fault {
	switch d {
	case '{', '[':
		if len(w.inside) == strictjson.MaxDepth {
			return &Fault{w.place(), fmt.Sprintf("it is nested too deeply: at most %d lists and objects may be inside one another", strictjson.MaxDepth)}
		}
		w.inside = append(w.inside, container{object: d == '{', seen: map[string]bool{}})
	default:
		w.inside = w.inside[:len(w.inside)-1]
		w.passed()
	}
	return nil
}

func (w *walk) name(name string, raw []byte) *Fault {
	top := w.top()
	if _, err := strictjson.Decode(raw, bodyOptions); err != nil {
		return &Fault{w.place(), "a member's name has a NUL or half a surrogate pair in it"}
	}
	top.name, top.named = name, true
	if top.seen[name] {
		return &Fault{w.place(), "it is there twice"}
	}
	top.seen[name] = true
	return nil
}

// passed notes that a value is over.
func (w *walk) passed() {
	if top := w.top(); top != nil {
		top.named = false
		top.index++
	}
}

// place is the pointer to what is being read.
func (w *walk) place() string {
	at := ""
	for _, c := range w.inside {
		switch {
		case !c.object:
			at = pointer(at, c.index)
		case c.named && len(c.name) > longestName:
			return at // see unknown
		case c.named:
			at = pointer(at, c.name)
		}
	}
	return at
}
