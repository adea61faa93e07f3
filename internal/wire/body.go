package wire

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// reader collects the faults of one body.
type reader struct {
	faults Faults
	failed error // why the body cannot be judged now, nil if it can: ErrBusy
	size   int   // of all patterns of its rules so far
}

// fault reports what is wrong at a place.
func (r *reader) fault(pointer, format string, args ...any) {
	if len(r.faults) < MaxFaults {
		r.faults = append(r.faults, Fault{pointer, fmt.Sprintf(format, args...)})
	}
}

// err is the faults, nil if there are none; or why there is nothing to be told of them.
func (r *reader) err() error {
	switch {
	case r.failed != nil:
		return r.failed
	case len(r.faults) == 0:
		return nil
	}
	return r.faults
}

// bodyOptions: some programs end a text at a NUL.
var bodyOptions = strictjson.Options{NoNUL: true}

// object parses a body that has to be an object. Nothing more can be said of a body
// that is none.
func (r *reader) object(body []byte) (map[string]any, bool) {
	v, err := strictjson.Decode(body, bodyOptions)
	if err != nil {
		r.faults = append(r.faults, locate(body, err))
		return nil, false
	}
	return r.asObject(v, "")
}

func (r *reader) asObject(v any, at string) (map[string]any, bool) {
	object, ok := v.(map[string]any)
	if !ok {
		r.wrongType(at, v, "an object")
	}
	return object, ok
}

func (r *reader) asText(v any, at string) (string, bool) {
	text, ok := v.(string)
	if !ok {
		r.wrongType(at, v, "a text")
	}
	return text, ok
}

func (r *reader) asList(v any, at string) ([]any, bool) {
	list, ok := v.([]any)
	if !ok {
		r.wrongType(at, v, "a list")
	}
	return list, ok
}

func (r *reader) wrongType(at string, v any, want string) {
	r.fault(at, "it is %s, and has to be %s", typeName(v), want)
}

// typeName says what a JSON value is, without saying which.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case string:
		return "a text"
	case json.Number:
		return "a number"
	case []any:
		return "a list"
	}
	return "an object"
}

// longestName is how long a name that is not known may be to be repeated. A longer one may
// well be a secret in the wrong place.
const longestName = 40

// unknown reports a member that is not known.
func (r *reader) unknown(at, name string, known []string) {
	switch near := nearest(name, known); {
	case len(name) > longestName:
		r.fault(at, "it has a member that is not known here")
	case near != "":
		r.fault(pointer(at, name), "it is not known here; did you mean %s?", near)
	case len(known) == 0:
		r.fault(pointer(at, name), "it is not known here; nothing is")
	case len(known) <= 12:
		r.fault(pointer(at, name), "it is not known here; known are %s", strings.Join(known, ", "))
	default:
		r.fault(pointer(at, name), "it is not known here")
	}
}

// nearest is the known name that was probably meant, or empty: the same in another
// spelling, or a few typing errors away.
func nearest(name string, known []string) string {
	best, found := 3, ""
	plain := spelling(name)
	for _, k := range known {
		if spelling(k) == plain {
			return k
		}
		if d := rule.Distance(plain, spelling(k)); d < best && 2*d <= len(plain) {
			best, found = d, k
		}
	}
	return found
}

var separators = strings.NewReplacer("_", "", "-", "")

// spelling is a name as it is compared for suggestions.
func spelling(name string) string { return separators.Replace(strings.ToLower(name)) }

// pointer is the JSON pointer to a member of what at points to, at most as long as it
// has to be.
func pointer(at string, name any) string {
	if i, ok := name.(int); ok {
		return at + "/" + strconv.Itoa(i)
	}
	return at + "/" + escapes.Replace(name.(string))
}

var escapes = strings.NewReplacer("~", "~0", "/", "~1")

// sortedKeys are an object's names in order, so that faults have one.
func sortedKeys[V any](object map[string]V) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
