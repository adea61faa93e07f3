package rr_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
)

// differ reports what is only in one of two sets.
func differ(t *testing.T, page string, documented, real map[string]bool) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(real)) {
		if !documented[name] {
			t.Errorf("%s does not have %s", page, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if !real[name] {
			t.Errorf("%s has %s, which there is not", page, name)
		}
	}
}

// section is the part of a page under a heading, down to the next of its level.
func section(t *testing.T, file, title string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut("\n"+string(b), "\n"+title+"\n")
	if !ok {
		t.Fatalf("%s has no heading %s", file, title)
	}
	level, _, _ := strings.Cut(title, " ")
	part, _, _ := strings.Cut(after, "\n"+level+" ")
	return part
}

// TestCodesInDocs compares the codes and statuses of docs/answers.md with the refusals in
// the sources, both ways.
func TestCodesInDocs(t *testing.T) {
	const page = "docs/answers.md"
	documented := map[string]bool{}
	codes := map[string]bool{}
	for line := range strings.Lines(section(t, page, "# What a caller sees")) {
		cells := tableCells(line)
		if len(cells) != 3 || !strings.HasPrefix(cells[2], "`") {
			continue
		}
		code := strings.Trim(cells[2], "`")
		codes[code] = true
		for _, status := range regexp.MustCompile(`\b[1-5]\d\d\b`).FindAllString(cells[1], -1) {
			documented[status+" "+code] = true
		}
	}
	constants, refusals := refusalsInSource(t)
	real := map[string]bool{}
	for _, code := range constants {
		real[code] = true
	}
	differ(t, page, codes, real)
	differ(t, page, documented, refusals)
}

// refusalsInSource are the constants Code… of package exchange, and the statuses with which
// they are used, as "403 proxy-access-denied".
func refusalsInSource(t *testing.T) (constants map[string]string, refusals map[string]bool) {
	t.Helper()
	constants, refusals = map[string]string{"CodeGranted": metrics.Granted}, map[string]bool{}
	type use struct {
		path         string
		status, code ast.Expr
	}
	var uses []use
	named := map[string][]string{} // variables of a function, with what they are set to
	sources(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if path == "internal/exchange/refusal.go" && len(n.Names) == 1 && strings.HasPrefix(n.Names[0].Name, "Code") {
					if lit, ok := n.Values[0].(*ast.BasicLit); ok {
						constants[n.Names[0].Name], _ = strconv.Unquote(lit.Value)
					}
				}
			case *ast.CallExpr:
				if callee(n) == "Refuse" && len(n.Args) == 3 {
					uses = append(uses, use{path, n.Args[0], n.Args[1]})
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if name, ok := left.(*ast.Ident); ok && i < len(n.Rhs) {
						if status := statusOf(n.Rhs[i]); status != "" {
							named[path+name.Name] = append(named[path+name.Name], status)
						}
					}
				}
			}
			return true
		})
	})
	for _, u := range uses {
		code := constants[lastName(u.code)]
		list := named[u.path+lastName(u.status)]
		if status := statusOf(u.status); status != "" {
			list = []string{status}
		}
		if len(list) == 0 || code == "" {
			t.Errorf("%s: a refusal whose status or code cannot be told: %v %v", u.path, u.status, u.code)
		}
		for _, status := range list {
			refusals[status+" "+code] = true
		}
	}
	if len(refusals) < 15 {
		t.Fatalf("only %d refusals found: %v", len(refusals), refusals)
	}
	return constants, refusals
}

func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// lastName is the name that an identifier, maybe of another package, has.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// statuses are the names that net/http has for statuses, and rr's own.
var statuses = func() map[string]string {
	names := map[string]string{"StatusClientClosed": "499"}
	for code := range 600 {
		if text := http.StatusText(code); text != "" {
			name := "Status" + strings.NewReplacer(" ", "", "-", "").Replace(text)
			names[name] = strconv.Itoa(code)
		}
	}
	return names
}()

func statusOf(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.INT {
		return lit.Value
	}
	return statuses[lastName(e)]
}

// gatherer takes note of what is registered with it.
type gatherer struct{ collectors []prometheus.Collector }

func (g *gatherer) Register(c prometheus.Collector) error {
	g.collectors = append(g.collectors, c)
	return nil
}
func (g *gatherer) MustRegister(cs ...prometheus.Collector) {
	g.collectors = append(g.collectors, cs...)
}
func (g *gatherer) Unregister(prometheus.Collector) bool { return false }

// TestMetricsInDocs compares the series and labels of docs/observability.md with those that
// are registered, both ways.
func TestMetricsInDocs(t *testing.T) {
	const page = "docs/observability.md"
	documented, real := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(section(t, page, "## Metrics")) {
		cells := tableCells(line)
		if len(cells) != 3 || !strings.HasPrefix(cells[0], "`") {
			continue
		}
		labels := spans(cells[1])
		slices.Sort(labels)
		documented[fmt.Sprint(strings.Trim(cells[0], "`"), labels)] = true
	}
	g := new(gatherer)
	if err := metrics.Register(g); err != nil {
		t.Fatal(err)
	}
	shape := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	for _, c := range g.collectors {
		described := make(chan *prometheus.Desc, 10)
		c.Describe(described)
		close(described)
		for desc := range described {
			m := shape.FindStringSubmatch(desc.String())
			if m == nil {
				t.Fatalf("not understood: %s", desc)
			}
			labels := strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })
			slices.Sort(labels)
			real[fmt.Sprint(m[1], labels)] = true
		}
	}
	if len(real) < 8 {
		t.Fatalf("only %v are registered", real)
	}
	differ(t, page, documented, real)
}

// TestLogFieldsInDocs compares the fields in docs/observability.md with those that the
// sources give to the log, both ways.
func TestLogFieldsInDocs(t *testing.T) {
	const page = "docs/observability.md"
	documented, real := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(section(t, page, "## Log fields")) {
		if cells := tableCells(line); len(cells) == 3 && strings.HasPrefix(cells[0], "`") {
			for _, name := range spans(cells[0]) {
				documented[name] = true
			}
		}
	}
	sources(t, func(path string, file *ast.File) {
		if strings.HasPrefix(path, "internal/rrtest/") || strings.HasPrefix(path, "internal/bench/") {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				for _, name := range loggedFields(call) {
					real[name] = true
				}
			}
			return true
		})
	})
	if len(real) < 40 {
		t.Fatalf("only %d fields found: %v", len(real), real)
	}
	differ(t, page, documented, real)
}

// loggedFields are the names of the fields that a call makes: zap.String("name", …), or a
// line of log/slog with names and values behind its message.
func loggedFields(call *ast.CallExpr) (names []string) {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return nil
	}
	text := func(e ast.Expr) string {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			s, _ := strconv.Unquote(lit.Value)
			return s
		}
		return ""
	}
	if of, ok := f.X.(*ast.Ident); ok && of.Name == "zap" {
		if f.Sel.Name == "Error" {
			return []string{"error"}
		}
		if name := text(call.Args[0]); name != "" {
			return []string{name}
		}
		return nil
	}
	if f.Sel.Name == "AddString" && strings.HasPrefix(text(call.Args[0]), "rr_") { // the access log's
		return []string{text(call.Args[0])}
	}
	if strings.HasSuffix(f.Sel.Name, "Context") && strings.Contains("InfoContext WarnContext ErrorContext DebugContext", f.Sel.Name) && len(call.Args) > 2 {
		for i := 2; i < len(call.Args); i += 2 {
			if name := text(call.Args[i]); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

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
