package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"
)

// canonical is the entry as JSON of which there is one form (RFC 8785): members in the
// order of their names, no spaces, nothing escaped that need not be. Members that are empty
// are left out, as encoding/json does with Entry's tags.
func (e *Entry) canonical(withHash bool) []byte {
	o := object{b: make([]byte, 0, 512)}
	o.text("action", e.Action)
	o.name("actor")
	actor := object{b: o.b}
	actor.optional("address", e.Actor.Address)
	actor.text("kind", e.Actor.Kind)
	actor.optional("name", e.Actor.Name)
	o.b = actor.end()
	o.optional("client", e.Client)
	for i, field := range e.Fields {
		if i == 0 {
			o.name("fields")
			o.b = append(o.b, '[')
		} else {
			o.b = append(o.b, ',')
		}
		o.b = appendText(o.b, field)
		if i == len(e.Fields)-1 {
			o.b = append(o.b, ']')
		}
	}
	if withHash {
		o.text("hash", e.Hash)
	}
	o.optional("id", e.ID)
	o.optional("name", e.Name)
	o.optional("previous", e.Previous)
	o.text("resource", e.Resource)
	o.name("seq")
	o.b = strconv.AppendUint(o.b, e.Seq, 10)
	o.text("time", e.Time.UTC().Format(time.RFC3339Nano))
	return o.end()
}

// object writes a JSON object after what is in b.
type object struct {
	b    []byte
	more bool
}

func (o *object) name(name string) {
	if o.more {
		o.b = append(o.b, ',')
	} else {
		o.b = append(o.b, '{')
	}
	o.more = true
	o.b = append(appendText(o.b, name), ':')
}

func (o *object) text(name, value string) {
	o.name(name)
	o.b = appendText(o.b, value)
}

func (o *object) optional(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

func (o *object) end() []byte { return append(o.b, '}') }

// appendText writes a string as RFC 8785 section 3.2.2.2 says. What is not UTF-8 becomes
// U+FFFD, as in encoding/json.
func appendText(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r < ' ':
			b = append(b, `\u00`...)
			b = append(b, hexDigits[r>>4], hexDigits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// WriteLines writes entries as JSON, one a line, in the form that is hashed, and returns
// how many it has written.
func WriteLines(w io.Writer, entries iter.Seq2[Entry, error]) (count int, err error) {
	buffered := bufio.NewWriter(w)
	for e, err := range entries {
		if err != nil {
			return count, err
		}
		if _, err := buffered.Write(append(e.canonical(true), '\n')); err != nil {
			return count, fmt.Errorf("writing the audit log: %w", err)
		}
		count++
	}
	if err := buffered.Flush(); err != nil {
		return count, fmt.Errorf("writing the audit log: %w", err)
	}
	return count, nil
}

// maxLine bounds a line, in bytes.
const maxLine = 1 << 20

// ReadLines reads what WriteLines wrote, for Verify. A line that WriteLines would not have
// written is ErrBroken: what is shown has to be what was hashed.
func ReadLines(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxLine)
		number := 0
		for lines.Scan() {
			number++
			e, err := decodeLine(lines.Bytes())
			if err != nil {
				err = fmt.Errorf("%w: line %d: %w", ErrBroken, number, err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(Entry{}, fmt.Errorf("%w: line %d is too long", ErrBroken, number+1))
		case err != nil:
			yield(Entry{}, fmt.Errorf("reading the audit log: %w", err))
		}
	}
}

func decodeLine(line []byte) (Entry, error) {
	var e Entry
	if json.Unmarshal(line, &e) != nil {
		return Entry{}, errors.New("it is not an entry")
	}
	if !bytes.Equal(line, e.canonical(true)) {
		return Entry{}, errors.New("it is not written as entries are")
	}
	return e, nil
}
