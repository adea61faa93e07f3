package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// apiDocs is docs/api.md, whose calls are executed, in their order, against the real
// catalogue.
const apiDocs = "../../docs/api.md"

// example is one call of the docs, and the answer that they show.
type example struct {
	section, method, path, body string
	headers                     []string
	saves                       bool   // its answer goes to a file
	answer                      string // of the last call of a block
	last                        bool   // of its block
}

// TestDocsOfCalls executes every call that docs/api.md has: all operations are there, and
// what they answer has the members of what is shown.
func TestDocsOfCalls(t *testing.T) {
	text, err := os.ReadFile(apiDocs)
	if err != nil {
		t.Fatal(err)
	}
	k := newReal(t)
	d := documentOf(t)
	missing := map[string]bool{}
	for id := range d.operations() {
		missing[id] = true
	}
	variables := map[string]string{}
	var archive []byte
	for _, e := range examplesIn(t, string(text)) {
		path := os.Expand(e.path, func(name string) string { return variables[name] })
		_, op := d.operation(e.method, strings.Split("/rr"+path, "?")[0])
		if op == nil {
			t.Errorf("%s: there is no operation %s %s", e.section, e.method, path)
			continue
		}
		id := op["operationId"].(string)
		delete(missing, id)
		if e.body == "@-" {
			e.body = importBody(archive, `,"replace":true`)
		}
		if e.body != "" && id != "import" {
			d.validateRequest(t, e.section, op, e.path, e.method, e.body)
		}
		a := k.run(e, path)
		switch {
		case id == "backup": // the store is in memory
			a.problem(http.StatusNotImplemented, "not-supported")
			continue
		case id == "oauth2Callback": // nobody was asked
			continue
		case a.StatusCode/100 != 2:
			t.Fatalf("%s: %s %s: %d %s", e.section, e.method, path, a.StatusCode, a.body)
		case id == "export":
			archive = a.body
		}
		learn(variables, id, a)
		if e.last && e.answer == "" && !e.saves && id != "openapi" && e.method != http.MethodDelete {
			t.Errorf("%s: no answer is shown", e.section)
		}
		if e.answer != "" {
			compareShapes(t, e.section, e.answer, a.body)
		}
	}
	for id := range missing {
		t.Errorf("operation %s has no call", id)
	}
}

// learn keeps the ids that later calls refer to.
func learn(variables map[string]string, id string, a *answer) {
	switch id {
	case "createProxyRule":
		variables["PROXY_RULE"] = a.text("rules.0.ruleId")
	case "createCredentialRule":
		variables["CREDENTIAL_RULE"] = a.text("rules.0.ruleId")
	case "createTargetRule":
		variables["TARGET_RULE"] = a.text("rules.0.ruleId")
	case "createBlocklistEntry":
		variables["ENTRY"] = a.text("blocklist.0.blockId")
	}
}

// run sends a call of the docs. Instead of the vendor's address it has one that needs no
// network.
func (k *kit) run(e example, path string) *answer {
	k.t.Helper()
	options := []option{}
	for _, h := range e.headers {
		name, value, _ := strings.Cut(h, ": ")
		options = append(options, header(name, value))
	}
	here := strings.NewReplacer("https://api.stripe.com", "http://127.0.0.1:9", `"api.stripe.com"`, `"http://127.0.0.1:9"`)
	return k.call(e.method, strings.ReplaceAll(path, "…", "x"), here.Replace(e.body), options...)
}

func (d *document) validateRequest(t *testing.T, section string, op map[string]any, path, method, body string) {
	t.Helper()
	pattern, _ := d.operation(method, "/rr"+strings.Split(path, "?")[0])
	if member(op, "requestBody") == nil {
		t.Errorf("%s: it takes no body", section)
		return
	}
	d.validate(t, []byte(body), "paths", pattern, strings.ToLower(method), "requestBody", "content", "application/json", "schema")
}

var (
	sectionLine = regexp.MustCompile(`(?m)^### (\w+)$`)
	fence       = regexp.MustCompile("(?s)```(sh|json)\n(.*?)```")
	heredoc     = regexp.MustCompile(`(?s)\{ printf .*?\} \|\n\s*curl`)
)

// examplesIn reads the calls, each with the JSON that follows its block.
func examplesIn(t *testing.T, text string) []example {
	t.Helper()
	var list []example
	sections := sectionLine.FindAllStringSubmatchIndex(text, -1)
	for i, at := range sections {
		end := len(text)
		if i+1 < len(sections) {
			end = sections[i+1][0]
		}
		var last int // how many calls the last block had
		for _, block := range fence.FindAllStringSubmatch(text[at[1]:end], -1) {
			if block[1] == "json" {
				if last == 0 {
					t.Errorf("%s: an answer without a call", text[at[2]:at[3]])
				} else {
					list[len(list)-1].answer = block[2]
				}
				continue
			}
			last = 0
			for _, words := range commands(heredoc.ReplaceAllString(block[2], "curl")) {
				e := parseCurl(t, words)
				e.section = text[at[2]:at[3]]
				list = append(list, e)
				last++
			}
			list[len(list)-1].last = true
		}
	}
	return list
}

// commands splits a shell text that is simple enough into commands of words.
func commands(text string) (list [][]string) {
	var words []string
	var word strings.Builder
	var quote rune
	in := false
	end := func() {
		if in {
			words = append(words, word.String())
			word.Reset()
			in = false
		}
	}
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == '\n':
			if end(); len(words) > 0 {
				list = append(list, words)
				words = nil
			}
		case c == ' ':
			end()
		default:
			word.WriteRune(c)
			in = true
		}
	}
	return list
}

func parseCurl(t *testing.T, words []string) example {
	t.Helper()
	e := example{method: http.MethodGet}
	for i := 1; i < len(words); i++ {
		switch w := words[i]; w {
		case "-X":
			i++
			e.method = words[i]
		case "-H":
			i++
			e.headers = append(e.headers, words[i])
		case "-o":
			i++
			e.saves = true
		case "--json":
			i++
			e.body = words[i]
			if e.method == http.MethodGet {
				e.method = http.MethodPost
			}
		default:
			var ok bool
			if e.path, ok = strings.CutPrefix(w, "$RR"); !ok || words[0] != "curl" {
				t.Errorf("not understood: %q", words)
			}
		}
	}
	return e
}

// compareShapes checks that what is shown and what was answered have the same members. Of
// lists the first elements are compared.
func compareShapes(t *testing.T, section, shown string, got []byte) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(shown), &a); err != nil {
		t.Errorf("%s: %v in %s", section, err, shown)
		return
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Fatal(err)
	}
	if x, y := shape(a), shape(b); x != y {
		t.Errorf("%s shows\n%s\nthe API answers\n%s\n%s", section, x, y, got)
	}
}

// shape is a value's structure.
func shape(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var b bytes.Buffer
		for _, name := range slices.Sorted(maps.Keys(v)) {
			fmt.Fprintf(&b, "%s:%s ", name, shape(v[name]))
		}
		return "{" + b.String() + "}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[" + shape(v[0]) + "]"
	}
	return fmt.Sprintf("%T", v)
}

// TestProblemsInDocs: the table of codes is the one that the API has.
func TestProblemsInDocs(t *testing.T) {
	text, err := os.ReadFile(apiDocs)
	if err != nil {
		t.Fatal(err)
	}
	d := documentOf(t)
	for code, e := range member(d.tree, "components", "examples").(map[string]any) {
		row := fmt.Sprintf("| %v | `%s` |", member(e, "value", "status"), code)
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/api.md has no row %s", row)
		}
	}
	for _, m := range regexp.MustCompile("(?s)```json problem\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		d.validate(t, []byte(m[1]), "components", "schemas", "Problem")
	}
}
