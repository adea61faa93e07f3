package docs

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/caddy-rr/caddy-rr" // its modules
)

// The reference has a table for each module of rr and for each structure that several of
// them share. All cells but the examples are written from the source: from the fields that
// reflection finds, and from their doc comments.
//
//	go test ./test/docs -run TestReferenceIsWhole -update
const referencePage = "docs/reference.md"

// ours are the modules that this repository registers.
var ours = regexp.MustCompile(`^(rr|rr\..*|http\.handlers\.rr_.*|http\.reverse_proxy\.transport\.rr|admin\.api\.rr|caddy\.logging\.encoders\.rr)$`)

// modules are the configurations of rr's modules.
func modules(t *testing.T) map[string]reflect.Type {
	t.Helper()
	found := map[string]reflect.Type{}
	for _, id := range caddy.Modules() {
		if !ours.MatchString(id) {
			continue
		}
		info, err := caddy.GetModule(id)
		if err != nil {
			t.Fatal(err)
		}
		typ := reflect.TypeOf(info.New()).Elem()
		if !strings.HasPrefix(typ.PkgPath(), modulePath) {
			continue // a kind that a test has registered
		}
		found[id] = typ
	}
	if len(found) < 25 {
		t.Fatalf("only %d modules: %v", len(found), found)
	}
	return found
}

// typeName is how a structure is named in the page's marks: package and type.
func typeName(t reflect.Type) string {
	path := strings.TrimPrefix(strings.TrimPrefix(t.PkgPath(), modulePath), "/")
	if path == "" {
		path = "rr"
	}
	return path[strings.LastIndexByte(path, '/')+1:] + "." + t.Name()
}

// table is one table of the page: <!-- fields of verify.Key --> and what follows it.
type table struct {
	name string
	rows []row
}

// row is one option.
type row struct {
	path, typ, unsaid, what string
	parent                  reflect.Type
}

var mark = regexp.MustCompile(`(?m)^<!-- fields of ([\w.]+) -->\n((?:[^\n]+\n)*)`)

// examplesOf reads the examples out of a table's text, by option.
func examplesOf(text string) map[string]string {
	examples := map[string]string{}
	for line := range strings.Lines(text) {
		if cells := tableCells(line); len(cells) == 5 {
			examples[strings.Trim(cells[0], "`")] = cells[3]
		}
	}
	return examples
}

// TestReferenceIsWhole compares docs/reference.md with the modules: each has its table,
// each option its row, and what a row says is what the source says.
func TestReferenceIsWhole(t *testing.T) {
	page := readPage(t, referencePage)
	tables, _ := referenceTables(t, page)
	written := mark.ReplaceAllStringFunc(page, func(text string) string {
		m := mark.FindStringSubmatch(text)
		tab, ok := tables[m[1]]
		if !ok {
			t.Errorf("%s: there is no %s", referencePage, m[1])
			return text
		}
		return "<!-- fields of " + m[1] + " -->\n" + tab.text(examplesOf(m[2])) + "\n"
	})
	if *update {
		if err := os.WriteFile(referencePage, []byte(written), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if written != page {
		t.Errorf("%s is not what the source says; run `go test ./test/docs -run TestReferenceIsWhole -update`\n%s", referencePage, firstDifference(page, written))
	}
}

// text is the table as it has to be.
func (tab *table) text(examples map[string]string) string {
	if len(tab.rows) == 0 {
		return "It has no options."
	}
	var b strings.Builder
	b.WriteString("| option | type | default | example | what |\n| --- | --- | --- | --- | --- |")
	for _, r := range tab.rows {
		fmt.Fprintf(&b, "\n| `%s` | %s | %s | %s | %s |", r.path, r.typ, r.unsaid, examples[r.path], r.what)
	}
	return b.String()
}

func firstDifference(is, should string) string {
	a, b := strings.Split(is, "\n"), strings.Split(should, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is\n%s\nand has to be\n%s", i+1, a[i], b[i])
		}
	}
	return "one is longer"
}

// referenceTables makes the tables that the page has to have, from the source, and returns
// which types they are of.
func referenceTables(t *testing.T, page string) (map[string]*table, map[string]reflect.Type) {
	t.Helper()
	marked := map[string]bool{}
	for _, m := range mark.FindAllStringSubmatch(page, -1) {
		if marked[m[1]] {
			t.Errorf("%s: %s is there twice", referencePage, m[1])
		}
		marked[m[1]] = true
	}
	w := walker{t: t, marked: marked, docs: docComments(t), tables: map[string]*table{}, types: map[string]reflect.Type{}}
	mods := modules(t)
	for _, id := range slices.Sorted(maps.Keys(mods)) {
		if name := typeName(mods[id]); !marked[name] {
			t.Errorf("%s has no table of %s: <!-- fields of %s -->", referencePage, id, name)
		}
		w.table(mods[id])
	}
	return w.tables, w.types
}

// walker collects the options of structures.
type walker struct {
	t      *testing.T
	marked map[string]bool
	docs   map[string]string
	tables map[string]*table
	types  map[string]reflect.Type
}

func (w *walker) table(typ reflect.Type) {
	name := typeName(typ)
	if w.tables[name] != nil {
		return
	}
	tab := &table{name: name}
	w.tables[name], w.types[name] = tab, typ
	w.fields(tab, typ, "")
}

// fields adds the options of a structure to a table. Structures that have a table of their
// own are referred to, others are written out behind a dot.
func (w *walker) fields(tab *table, typ reflect.Type, prefix string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag, said := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" {
			w.embedded(tab, f, prefix)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if !said || name == "" {
			w.t.Errorf("%s.%s has no name in JSON", typeName(typ), f.Name)
			continue
		}
		doc := w.docs[typeName(typ)+"."+f.Name]
		if doc == "" {
			w.t.Errorf("%s.%s has no doc comment", typeName(typ), f.Name)
		}
		inner, suffix := element(f.Type)
		r := row{path: prefix + name, parent: typ}
		r.typ = w.describe(f, typ)
		r.unsaid, r.what = split(doc, f.Type, options == "")
		inline := inner.Kind() == reflect.Struct && strings.HasPrefix(inner.PkgPath(), modulePath) && !w.marked[typeName(inner)]
		if inline && r.unsaid == "none" {
			r.unsaid = "–" // its own options tell
		}
		tab.rows = append(tab.rows, r)
		if inner.Kind() != reflect.Struct || !strings.HasPrefix(inner.PkgPath(), modulePath) {
			continue
		}
		if w.marked[typeName(inner)] {
			w.table(inner)
		} else {
			w.fields(tab, inner, prefix+name+suffix+".")
		}
	}
}

// embedded adds the options of a structure that is embedded.
func (w *walker) embedded(tab *table, f reflect.StructField, prefix string) {
	inner, _ := element(f.Type)
	switch {
	case inner.Kind() != reflect.Struct:
	case !strings.HasPrefix(inner.PkgPath(), modulePath):
		if tab.name != "inject.Transport" {
			w.t.Errorf("%s embeds %v, which the reference does not know", tab.name, inner)
		}
	default:
		w.fields(tab, inner, prefix)
	}
}

// element takes pointers, lists and maps off a type, and returns how they are written.
func element(typ reflect.Type) (reflect.Type, string) {
	suffix := ""
	for {
		switch typ.Kind() {
		case reflect.Pointer:
			typ = typ.Elem()
		case reflect.Slice:
			if typ.Elem().Kind() == reflect.Uint8 {
				return typ, suffix
			}
			typ, suffix = typ.Elem(), suffix+"[]"
		case reflect.Map:
			if typ.Name() != "" {
				return typ, suffix // an object of anybody's
			}
			typ, suffix = typ.Elem(), suffix+".<name>"
		default:
			return typ, suffix
		}
	}
}

// typeWords are the types in words.
var typeWords = map[string]string{
	"string": "text", "bool": "true/false", "int": "number", "int64": "number", "time.Time": "time",
	"caddy.Duration": "duration", "netip.Prefix": "address range", "secret.String": "[secret](#values)",
	"secret.Template": "[text with secrets](#values)", "inject.Object": "JSON object", "json.RawMessage": "JSON",
}

func (w *walker) describe(f reflect.StructField, typ reflect.Type) string {
	inner, suffix := element(f.Type)
	word, ok := typeWords[inner.String()]
	switch module := f.Tag.Get("caddy"); {
	case strings.Contains(module, "rr.verifiers"):
		word = "[verifier](#what-callers-prove-themselves-with)"
	case strings.Contains(module, "rr.injectors"):
		word = "[injector](#what-upstreams-accept)"
	case strings.Contains(module, "rr.stores"):
		word = "[store](#stores)"
	case strings.Contains(module, "logging.encoders"):
		word = "log encoder"
	case inner.Kind() == reflect.Struct && strings.HasPrefix(inner.PkgPath(), modulePath) && w.marked[typeName(inner)]:
		word = tableLinks[typeName(inner)]
		if word == "" {
			w.t.Errorf("it is not known what %s is called", typeName(inner))
		}
	case inner.Kind() == reflect.Struct && strings.HasPrefix(inner.PkgPath(), modulePath):
		word = "object"
	case !ok:
		w.t.Errorf("%s.%s: it is not known what a %v is called", typeName(typ), f.Name, inner)
	}
	for suffix != "" {
		if strings.HasSuffix(suffix, "[]") {
			word, suffix = "list of "+word, strings.TrimSuffix(suffix, "[]")
		} else {
			word, suffix = "map: name → "+word, strings.TrimSuffix(suffix, ".<name>")
		}
	}
	return word
}

// tableLinks are what structures with a table are called.
var tableLinks = map[string]string{
	"rr.Credential": "[credential](#credential)", "rr.Proxy": "[proxy](#proxy)", "inject.TargetSpec": "[target](#target)",
	"rule.Rule": "[rule](#rule)", "rule.Check": "[condition](#condition)", "verify.Carrier": "[carrier](#carrier)",
	"inject.Placement": "[placement](#placement)", "inject.Minting": "[minting](#minting)",
}

var (
	defaultSentence  = regexp.MustCompile(`Default: (.*?)\.(?: |$)`)
	requiredSentence = regexp.MustCompile(`(?:^| )Required([,;][^.]*)?\.(?: |$)`)
)

// split takes what a field is unsaid out of its doc comment, and makes a cell of the rest.
func split(doc string, typ reflect.Type, always bool) (unsaid, what string) {
	what = doc
	switch m := defaultSentence.FindStringSubmatchIndex(doc); {
	case m != nil:
		unsaid = doc[m[2]:m[3]]
		what = doc[:m[0]] + doc[m[1]:]
	case requiredSentence.MatchString(doc):
		unsaid, what = "required"+requiredSentence.FindStringSubmatch(doc)[1], requiredSentence.ReplaceAllString(doc, " ")
	case always:
		unsaid = "required"
	case typ.Kind() == reflect.Bool:
		unsaid = "false"
	default:
		unsaid = "none"
	}
	return escape(unsaid), escape(strings.TrimSpace(what))
}

// escape keeps text from being taken for Markdown.
func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(strings.Join(strings.Fields(text), " "))
}
