package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/api"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

// golden is the document as it is published: a change of the API is a change of this file.
const golden = "../../docs/openapi.json"

func TestDocumentIsPublished(t *testing.T) {
	k := newKit(t, func(o *api.Options) { o.Prefix, o.Version = "/rr", "1" })
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, k.call("GET", "/openapi.json", "").want(http.StatusOK).body, "", "  "); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, pretty.Bytes()) {
		t.Error("docs/openapi.json is not what the API says of itself: run `go test ./internal/api -run Published -update` and look at the difference")
	}
}

// TestDocument checks what schemas alone do not.
func TestDocument(t *testing.T) {
	d := documentOf(t)
	if v := d.tree["openapi"]; v != "3.1.0" {
		t.Error(v)
	}
	ids := map[string]bool{}
	for _, o := range d.operations() {
		id := o.op["operationId"].(string)
		if ids[id] {
			t.Errorf("two operations are called %s", id)
		}
		ids[id] = true
		checkOperation(t, id, &o)
	}
	if len(ids) < 50 {
		t.Errorf("%d operations", len(ids))
	}
	used := references(t, d)
	for _, part := range []string{"schemas", "examples", "responses"} {
		for name := range member(d.tree, "components", part).(map[string]any) {
			if !used["#/components/"+part+"/"+name] && name != "method-not-allowed" {
				t.Errorf("nothing refers to %s %s", part, name)
			}
		}
	}
	for name := range member(d.tree, "components", "schemas").(map[string]any) {
		d.schema(t, "components", "schemas", name) // compiles
	}
}

var pathParameter = regexp.MustCompile(`\{([^}]+)\}`)

func checkOperation(t *testing.T, id string, o *documented) {
	t.Helper()
	if o.op["summary"] == nil || len(o.op["tags"].([]any)) != 1 {
		t.Errorf("%s: no summary or no tag", id)
	}
	declared := map[string]bool{}
	parameters, _ := o.op["parameters"].([]any)
	for _, p := range parameters {
		in, name := member(p, "in").(string), member(p, "name").(string)
		declared[in+" "+name] = true
		if member(p, "description") == nil || member(p, "schema") == nil || in == "path" && member(p, "required") != true {
			t.Errorf("%s: parameter %s is not described", id, name)
		}
	}
	for _, m := range pathParameter.FindAllStringSubmatch(o.path, -1) {
		if !declared["path "+m[1]] {
			t.Errorf("%s: parameter %s is not declared", id, m[1])
		}
	}
	responses := o.op["responses"].(map[string]any)
	success := 0
	for status, r := range responses {
		if member(r, "description") == nil && member(r, "$ref") == nil {
			t.Errorf("%s: %s has no description", id, status)
		}
		if status[0] == '2' {
			success++
		}
	}
	if success != 1 || responses["default"] != nil {
		t.Errorf("%s: its answers are %v", id, slices.Sorted(maps.Keys(responses)))
	}
	writes := o.method != http.MethodGet
	for status, want := range map[string]bool{"400": true, "406": true, "500": true, "415": writes, "403": o.op["x-rr-role"] != "none" || writes, "413": o.op["requestBody"] != nil, "422": o.op["requestBody"] != nil} {
		if (responses[status] != nil) != want && status != "422" {
			t.Errorf("%s: %s is documented: %t", id, status, !want)
		}
	}
}

// references are all that the document refers to; each has to be there.
func references(t *testing.T, d *document) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				found[ref] = true
				if member(d.tree, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
					t.Errorf("%s is not there", ref)
				}
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(d.tree)
	return found
}

// TestExamples holds the examples of the document against its schemas.
func TestExamples(t *testing.T) {
	d := documentOf(t)
	for id, o := range d.operations() {
		method := strings.ToLower(o.method)
		check := func(example any, place ...string) {
			if example == nil {
				t.Errorf("%s: no example at %v", id, place)
				return
			}
			if err := d.schema(t, append([]string{"paths", o.path, method}, place...)...).Validate(example); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		if o.op["requestBody"] != nil {
			check(member(o.op, "requestBody", "content", "application/json", "example"), "requestBody", "content", "application/json", "schema")
		}
		for status, r := range o.op["responses"].(map[string]any) {
			for media, content := range mapOf(member(r, "content")) {
				switch {
				case media == "application/problem+json" && len(mapOf(member(content, "examples"))) == 0:
					t.Errorf("%s %s: no problem is shown", id, status)
				case media == "application/json" && id != "openapi":
					check(member(content, "example"), "responses", status, "content", media, "schema")
				}
			}
		}
	}
	for code, example := range member(d.tree, "components", "examples").(map[string]any) {
		if err := d.schema(t, "components", "schemas", "Problem").Validate(member(example, "value")); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func mapOf(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// TestDocumentAddresses: where the API is.
func TestDocumentAddresses(t *testing.T) {
	for _, c := range []struct{ prefix, base, want string }{
		{"/rr", "", "/rr /rr/api"},
		{"", "", "/ /api"},
		{"/manage", "https://gateway.example/manage", "https://gateway.example/manage https://gateway.example/manage/api"},
	} {
		h := api.New(newFake(t), api.Options{Prefix: c.prefix, BaseURL: c.base})
		k := &kit{t: t, handler: h, answers: new(logBuffer), who: root}
		a := k.get(c.prefix + "/openapi.json")
		var doc struct{ Servers []struct{ URL string } }
		if err := json.Unmarshal(a, &doc); err != nil || len(doc.Servers) != 2 {
			t.Fatalf("%v %s", err, a)
		}
		if got := fmt.Sprint(doc.Servers[0].URL, " ", doc.Servers[1].URL); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
