package docs

import (
	"go/ast"
	"go/constant"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// source is what the tests need of the code, by folder and name ("." stands for the root).
type source struct {
	constants map[string]ast.Expr
	imports   map[string]map[string]string // by folder: package name to folder
	tests     map[string]bool
	starts    map[string]bool // folders whose code starts goroutines
	checks    map[string]bool // folders whose tests look for goroutines that are left
}

// readSource reads what is in the binary, and all tests.
func readSource(t *testing.T) *source {
	t.Helper()
	s := &source{map[string]ast.Expr{}, map[string]map[string]string{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	sources(t, func(file string, syntax *ast.File) { s.read(path.Dir(file), syntax) })
	goFiles(t, func(file string, syntax *ast.File) {
		if strings.HasSuffix(file, "_test.go") {
			s.readTest(path.Dir(file), syntax)
		}
	})
	return s
}

func (s *source) read(folder string, file *ast.File) {
	if s.imports[folder] == nil {
		s.imports[folder] = map[string]string{}
	}
	for _, i := range file.Imports {
		if name, ours := ownName(strings.Trim(i.Path.Value, `"`)); ours {
			s.imports[folder][path.Base(name)] = name
		}
	}
	for _, d := range file.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			v := spec.(*ast.ValueSpec)
			for i, name := range v.Names {
				if i < len(v.Values) {
					s.constants[folder+"."+name.Name] = v.Values[i]
				}
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if startsGoroutine(n) {
			s.starts[folder] = true
		}
		return true
	})
}

func (s *source) readTest(folder string, file *ast.File) {
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
			s.tests[folder+"."+f.Name.Name] = true
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if looksForLeaks(n) {
			s.checks[folder] = true
		}
		return true
	})
}

// value is that of a constant, of a duration in nanoseconds.
func (s *source) value(name string) (int64, bool) {
	e := s.constants[name]
	if e == nil {
		return 0, false
	}
	v := s.eval(name[:strings.LastIndexByte(name, '.')], e)
	if v == nil {
		return 0, false
	}
	return constant.Int64Val(constant.ToInt(v))
}

// eval computes what constants are made of, nil if it is something else.
func (s *source) eval(folder string, e ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return s.eval(folder, e.X)
	case *ast.Ident:
		return s.eval(folder, s.constants[folder+"."+e.Name])
	case *ast.SelectorExpr:
		from, ok := e.X.(*ast.Ident)
		if !ok {
			return nil
		}
		if unit := map[string]int64{"Millisecond": 1e6, "Second": 1e9, "Minute": 60e9, "Hour": 3600e9}[e.Sel.Name]; from.Name == "time" && unit > 0 {
			return constant.MakeInt64(unit)
		}
		other := s.imports[folder][from.Name]
		return s.eval(other, s.constants[other+"."+e.Sel.Name])
	case *ast.BinaryExpr:
		x, y := s.eval(folder, e.X), s.eval(folder, e.Y)
		if x == nil || y == nil {
			return nil
		}
		if e.Op == token.SHL {
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, token.SHL, uint(n))
		}
		return constant.BinaryOp(x, e.Op, y)
	}
	return nil
}

// startsGoroutine reports whether a node is `go …`, or the Go of a sync.WaitGroup.
func startsGoroutine(n ast.Node) bool {
	if _, is := n.(*ast.GoStmt); is {
		return true
	}
	call, is := n.(*ast.CallExpr)
	if !is {
		return false
	}
	selector, is := call.Fun.(*ast.SelectorExpr)
	return is && selector.Sel.Name == "Go"
}

// looksForLeaks reports whether a node is a function that finds goroutines which are left.
func looksForLeaks(n ast.Node) bool {
	selector, is := n.(*ast.SelectorExpr)
	if !is {
		return false
	}
	from, is := selector.X.(*ast.Ident)
	return is && slices.Contains([]string{"rrtest.NoLeak", "rrtest.Main", "goleak.Find", "goleak.VerifyNone", "goleak.VerifyTestMain"}, from.Name+"."+selector.Sel.Name)
}
