package rr_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// limitsPage says what bounds everything that can grow.
const limitsPage = "docs/limits.md"

// notLimits are constants that are named like limits and are none.
var notLimits = map[string]string{
	"internal/jwks.maxAhead": "how far clocks may differ",
}

var (
	limitName = regexp.MustCompile(`^(max|Max|most)[A-Z]`)
	codeName  = regexp.MustCompile("`([a-z0-9/]*)\\.([A-Za-z0-9_]+)`")
	quantity  = regexp.MustCompile(`^([0-9][0-9,]*)(?: ([A-Za-z]+))?`)
)

// units are what a limit's number is multiplied with; other words count one.
var units = map[string]int64{
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	"ms": 1e6, "s": 1e9, "min": 60e9, "h": 3600e9, "days": 24 * 3600e9,
}

// TestLimitsArePublished holds the page of limits against the code: each number is that of
// the constant beside it, each test is there, and no limit is left out.
func TestLimitsArePublished(t *testing.T) {
	source := readSource(t)
	text, err := os.ReadFile(limitsPage)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for number, line := range strings.Split(string(text), "\n") {
		row, is := tableRow(line)
		if !is {
			continue
		}
		place := fmt.Sprintf("%s:%d", limitsPage, number+1)
		if len(row) != 5 {
			t.Errorf("%s: a row has what, limit, constant, beyond it, test", place)
			continue
		}
		for _, fault := range source.judge(row, told) {
			t.Errorf("%s: %s: %s", place, row[0], fault)
		}
	}
	for name := range source.constants {
		if limitName.MatchString(path.Ext(name)[1:]) && !told[name] && notLimits[name] == "" {
			t.Errorf("%s is in no row of %s", name, limitsPage)
		}
	}
	for name := range notLimits {
		if source.constants[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
	if len(told) < 100 {
		t.Errorf("only %d limits found", len(told))
	}
}

// TestRowsOfLimitsThatAreWrong breaks each rule once.
func TestRowsOfLimitsThatAreWrong(t *testing.T) {
	source := readSource(t)
	const good = "`verify.TestTokenCacheIsBounded`"
	for _, tt := range []struct{ limit, constant, test, fault string }{
		{"50,000 tokens", "`verify.maxTokens`", good, ""},
		{"64 MiB", "`verify.maxTokenBytes`", good, ""},
		{"256 MiB", "`verify.maxArgonMemory` KiB", good, ""},
		{"2 s", "`verify.maxWait`", good, ""},
		{"as many as there are requests", "", good, ""},
		{"50,001 tokens", "`verify.maxTokens`", good, "is 50000"},
		{"64 KiB", "`verify.maxTokenBytes`", good, "is 67108864"},
		{"many", "`verify.maxTokens`", good, "no number"},
		{"7", "`verify.maxNothing`", good, "no constant"},
		{"7 s", "", good, "no constant beside it"},
		{"50,000 tokens", "`verify.maxTokens`", "`verify.TestNothing`", "no test"},
		{"50,000 tokens", "`verify.maxTokens`", "", "no test"},
	} {
		faults := source.judge([]string{"x", tt.limit, tt.constant, "y", tt.test}, map[string]bool{})
		expectFault(t, faults, tt.fault)
	}
}

// tableRow splits a line of a table; heads and rules are none.
func tableRow(line string) (cells []string, is bool) {
	inner, is := strings.CutPrefix(line, "| ")
	if !is || strings.HasPrefix(inner, "---") || strings.HasPrefix(inner, "what |") {
		return nil, false
	}
	for cell := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(inner), "|"), "|") {
		cells = append(cells, strings.TrimSpace(cell))
	}
	return cells, true
}

// judge is what is wrong with a row; the constants in it are told of.
func (s *source) judge(row []string, told map[string]bool) (faults []string) {
	limit, constant, tests := row[1], row[2], codeName.FindAllStringSubmatch(row[4], -1)
	m, named := quantity.FindStringSubmatch(limit), codeName.FindStringSubmatch(constant)
	switch {
	case named == nil && m != nil:
		faults = append(faults, "a number has no constant beside it")
	case named != nil && m == nil:
		faults = append(faults, "there is no number beside the constant")
	case named != nil:
		name := named[1] + "." + named[2]
		told[name] = true
		want, _ := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
		if unit := units[m[2]]; unit > 0 {
			want *= unit
		}
		got, known := s.value(name)
		if strings.HasSuffix(constant, " KiB") {
			got *= 1 << 10
		}
		if !known {
			faults = append(faults, "there is no constant "+name)
		} else if got != want {
			faults = append(faults, fmt.Sprintf("%s is %d, the row says %d", name, got, want))
		}
	}
	if len(tests) == 0 {
		faults = append(faults, "there is no test in it")
	}
	for _, test := range tests {
		if !s.tests[test[1]+"."+test[2]] {
			faults = append(faults, fmt.Sprintf("there is no test %s.%s", test[1], test[2]))
		}
	}
	return faults
}

// source is what the tests need of the code, by folder and name ("." stands for the root).
type source struct {
	constants map[string]ast.Expr
	imports   map[string]map[string]string // by folder: package name to folder
	tests     map[string]bool
	starts    map[string]bool // folders whose code starts goroutines
	checks    map[string]bool // folders whose tests look for goroutines that are left
}

// readSource parses the module's code, but for what is no part of the product.
func readSource(t *testing.T) *source {
	t.Helper()
	s := &source{map[string]ast.Expr{}, map[string]map[string]string{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if slices.Contains([]string{"node_modules", "testdata", "bin", "tools", "examples", ".git"}, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err == nil {
			s.read(path.Dir(name), file, strings.HasSuffix(name, "_test.go"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *source) read(folder string, file *ast.File, isTest bool) {
	if isTest {
		s.readTest(folder, file)
		return
	}
	if within(folder, slices.Concat(testKit, standalone)) {
		return
	}
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

// TestWhoStartsGoroutinesLooksForThem: each package whose code starts one has a test that
// finds those that are left.
func TestWhoStartsGoroutinesLooksForThem(t *testing.T) {
	s := readSource(t)
	for folder := range s.starts {
		if !s.checks[folder] {
			t.Errorf("%s starts goroutines, and none of its tests calls rrtest.NoLeak or rrtest.Main", folder)
		}
	}
	for _, folder := range []string{"store/bolt", "internal/catalog", "internal/jwks", "inject/token"} {
		if !s.starts[folder] {
			t.Errorf("%s starts goroutines, and that is not seen", folder)
		}
	}
}
