package docs

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-rr/caddy-rr/internal/metrics"
)

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
	sources(t, func(_ string, file *ast.File) {
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
