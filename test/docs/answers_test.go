package docs

import (
	"go/ast"
	"go/token"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/metrics"
)

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
