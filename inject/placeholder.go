package inject

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// placeholder is what looks like one: {root.rest}. Other braces are ordinary text, above
// all those of JSON.
var placeholder = regexp.MustCompile(`\{([A-Za-z][A-Za-z0-9_]*)\.([^{}\s"]+)\}`)

// piece is a part of a text: a placeholder with its root and the rest of its name, or
// literal text.
type piece struct {
	text       string // as it is written
	root, rest string // of a placeholder
}

// isPlaceholder tells a placeholder from literal text.
func (p piece) isPlaceholder() bool { return p.root != "" }

// pieces takes a text apart. Nothing is replaced here, and values never pass it.
func pieces(text string) (list []piece) {
	for text != "" {
		m := placeholder.FindStringSubmatchIndex(text)
		if m == nil {
			return append(list, piece{text: text})
		}
		if m[0] > 0 {
			list = append(list, piece{text: text[:m[0]]})
		}
		list = append(list, piece{text[m[0]:m[1]], text[m[2]:m[3]], text[m[4]:m[5]]})
		text = text[m[1]:]
	}
	return list
}

// unknownPlaceholder is the error for one that does not belong where it stands.
func unknownPlaceholder(p piece, known ...string) error {
	return fmt.Errorf("unknown placeholder %s; here are: %s", p.text, strings.Join(known, ", "))
}

// expands reports whether placeholders mean anything in ctx's configuration. In records
// that were made through the API they are plain text.
func expands(ctx context.Context) bool {
	key, _ := (*secret.Expander)(nil).Key()
	e, ok := ctx.Value(key).(*secret.Expander)
	return ok && e != nil
}
