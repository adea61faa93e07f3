package docs

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/audit"
)

// TestAuditMembersInDocs compares the members of an entry in docs/audit.md with those of
// the structure, both ways.
func TestAuditMembersInDocs(t *testing.T) {
	const page = "docs/audit.md"
	documented, real := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(section(t, page, "## An entry")) {
		if cells := tableCells(line); len(cells) == 2 && strings.HasPrefix(cells[0], "`") {
			for _, name := range spans(cells[0]) {
				documented[name] = true
			}
		}
	}
	members(reflect.TypeFor[audit.Entry](), "", real)
	differ(t, page, documented, real)
}

// members adds the paths of a structure's members in JSON.
func members(typ reflect.Type, prefix string, found map[string]bool) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type.Kind() == reflect.Struct && strings.HasPrefix(f.Type.PkgPath(), modulePath) {
			members(f.Type, prefix+name+".", found)
			continue
		}
		found[prefix+name] = true
	}
}

// TestSchemaMembersInDocs looks for each member of docs/openapi.json, of bodies and of
// answers, in the pages about the API. Its operations are looked for in internal/api.
func TestSchemaMembersInDocs(t *testing.T) {
	var document any
	if err := json.Unmarshal([]byte(readPage(t, "docs/openapi.json")), &document); err != nil {
		t.Fatal(err)
	}
	real := map[string]bool{}
	schemaMembers(document, real)
	if len(real) < 150 {
		t.Fatalf("only %d members found", len(real))
	}
	pages := readPage(t, "docs/api.md") + readPage(t, "docs/api-records.md") + readPage(t, "docs/audit.md")
	for _, name := range slices.Sorted(maps.Keys(real)) {
		if !regexp.MustCompile("[`\"./]" + regexp.QuoteMeta(name) + "[`\".\\[]").MatchString(pages) {
			t.Errorf("docs/api.md and docs/api-records.md do not have %s", name)
		}
	}
}

// schemaMembers adds the names below all `properties`.
func schemaMembers(v any, found map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if properties, ok := v["properties"].(map[string]any); ok {
			for name := range properties {
				found[name] = true
			}
		}
		for _, w := range v {
			schemaMembers(w, found)
		}
	case []any:
		for _, w := range v {
			schemaMembers(w, found)
		}
	}
}
