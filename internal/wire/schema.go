package wire

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// Bodies are described once, by Go structs: the OpenAPI document is made of them, and so
// is the decoder. Beside huma's tags (doc, example, enum, maxLength, maxItems, minimum,
// maximum, readOnly) they have some of their own:
//
//	key      the name in the record; default: the JSON name in snake_case
//	alias    other names that are taken, besides key; name:object only for objects
//	rr       "open": it may be shown. Without it a value is never shown again. "rules": it is
//	         a list of rules
//	alt      group=numbers: values of one group that have no number in common exclude each
//	         other
//	address  "true": secrets are sent there
//
// types of values that a struct's field may have
type (
	// Duration is a duration as in Go, such as 5m, or a number of seconds.
	Duration string
	// Texts is a list of texts; one may stand for itself.
	Texts []string
	// Words is a list of texts; a text with spaces is several.
	Words []string
	// Object is any JSON object.
	Object map[string]any
	// Document is a JSON document: an object, or a text that is one.
	Document any
)

// shape says how a value looks.
type shape uint8

const (
	text shape = iota
	integer
	flag
	duration
	moment
	texts
	words
	free      // any object
	anything  // any value
	document  // object, or text that is one
	structure // a struct
	oneOrMore // structs; one may stand for itself
	named     // an object whose members have one shape
)

// field is a member of a body.
type field struct {
	name    string
	key     string
	shape   shape
	inner   *schema // of structures
	element *field  // of named
	open    bool
	// secretType says that it is a secret by its Go type, and never shown
	secretType bool
	readOnly   bool
	address    bool
	group      string
	numbers    string // of alt
	enum       []string
	longest    int // of a text, in characters
	most       int // of a list or object
	min, max   int64
}

// name is another name of a field.
type name struct {
	*field
	onlyObject bool
}

// schema are the members that an object may have.
type schema struct {
	fields []*field
	names  map[string][]name
	known  []string // the JSON names, in order
}

// schemaOf describes a struct of which the record has another form: its names are taken in
// snake_case, too.
func schemaOf(t reflect.Type) *schema {
	s := &schema{names: map[string][]name{}}
	s.add(t, true)
	return s
}

// exactSchemaOf describes a struct whose names and keys are its JSON names.
func exactSchemaOf(t reflect.Type) *schema {
	s := &schema{names: map[string][]name{}}
	s.add(t, false)
	return s
}

func (s *schema) add(t reflect.Type, snakes bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			s.add(f.Type, snakes)
			continue
		}
		if f.Tag.Get("rr") == "rules" {
			continue // rules are read in all their shapes
		}
		made := fieldOf(f)
		if !snakes {
			made.key = made.name
		}
		s.fields = append(s.fields, made)
		s.known = append(s.known, made.name)
		for alias := range strings.FieldsSeq(f.Tag.Get("alias")) {
			alias, onlyObject := strings.CutSuffix(alias, ":object")
			s.learn(alias, made, onlyObject)
		}
		s.learn(made.name, made, false)
		if snakes {
			s.learn(snake(made.name), made, false)
		}
		if !strings.Contains(made.key, ".") { // not one of this package's own
			s.learn(made.key, made, false)
		}
	}
}

func (s *schema) learn(text string, f *field, onlyObject bool) {
	list := s.names[text]
	if !slices.ContainsFunc(list, func(n name) bool { return n.field == f }) {
		s.names[text] = append(list, name{f, onlyObject})
	}
}

// find is the field that a member is, nil if there is none.
func (s *schema) find(member string, value any) *field {
	_, isObject := value.(map[string]any)
	var found *field
	for _, n := range s.names[member] {
		if n.onlyObject == isObject || found == nil && !n.onlyObject {
			found = n.field
		}
	}
	return found
}

// byKey is the field of a key.
func (s *schema) byKey(key string) *field {
	for _, f := range s.fields {
		if f.key == key {
			return f
		}
	}
	return nil
}

func fieldOf(f reflect.StructField) *field {
	tag := f.Tag
	jsonName, _, _ := strings.Cut(tag.Get("json"), ",")
	made := &field{
		name: jsonName, key: tag.Get("key"),
		readOnly: tag.Get("readOnly") == "true", address: tag.Get("address") == "true",
		longest: MaxText, most: MaxListed, max: 1 << 62,
	}
	if made.key == "" {
		made.key = snake(jsonName)
	}
	made.group, made.numbers, _ = strings.Cut(tag.Get("alt"), "=")
	if enum := tag.Get("enum"); enum != "" {
		made.enum = strings.Split(enum, ",")
	}
	made.describe(f.Type)
	made.open = tag.Get("rr") == "open" && !made.secretType
	for tagName, to := range map[string]*int{"maxLength": &made.longest, "maxItems": &made.most} {
		if n, err := strconv.Atoi(tag.Get(tagName)); err == nil {
			*to = n
		}
	}
	for tagName, to := range map[string]*int64{"minimum": &made.min, "maximum": &made.max} {
		if n, err := strconv.ParseInt(tag.Get(tagName), 10, 64); err == nil {
			*to = n
		}
	}
	return made
}

// describe takes the shape of a Go type.
func (f *field) describe(t reflect.Type) {
	switch t {
	case reflect.TypeFor[Duration]():
		f.shape = duration
	case reflect.TypeFor[Texts]():
		f.shape = texts
	case reflect.TypeFor[Words]():
		f.shape = words
	case reflect.TypeFor[Object]():
		f.shape = free
	case reflect.TypeFor[Document]():
		f.shape, f.longest = document, MaxSecret
	case reflect.TypeFor[time.Time]():
		f.shape = moment
	default:
		f.describeKind(t)
	}
}

func (f *field) describeKind(t reflect.Type) {
	switch t.Kind() {
	case reflect.String:
		f.shape = text
		f.secret(t)
	case reflect.Int64:
		f.shape = integer
	case reflect.Bool, reflect.Pointer:
		f.shape = flag
		if t.Kind() == reflect.Pointer {
			f.describe(t.Elem())
		}
	case reflect.Interface:
		f.shape = anything
	case reflect.Struct:
		f.shape, f.inner = structure, schemaOf(t)
	case reflect.Map:
		f.shape, f.element = named, &field{longest: MaxText, most: MaxListed, max: 1 << 62}
		f.element.describe(t.Elem())
		f.secretType = f.element.secretType
	case reflect.Slice:
		f.describeList(t.Elem())
	default:
		panic("wire: no shape for " + t.String())
	}
}

func (f *field) describeList(element reflect.Type) {
	if element.Kind() == reflect.Struct {
		f.shape, f.inner = oneOrMore, schemaOf(element)
		return
	}
	f.shape = texts
	f.secret(element)
}

// secret makes room for secrets, which are long.
func (f *field) secret(t reflect.Type) {
	if t == reflect.TypeFor[secret.String]() {
		f.secretType, f.longest = true, MaxSecret
	}
}

// snake is a name in camelCase in snake_case: tokenUrl and tokenURL are token_url.
func snake(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, c := range runes {
		if unicode.IsUpper(c) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
