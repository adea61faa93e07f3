package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const securityPage = "docs/security.md"

var (
	namedTest = regexp.MustCompile(`\[(Test\w+)\]\(([^)]*)\)`)
	rowID     = regexp.MustCompile(`^[A-Z][0-9]+$`)
)

// TestSecurityPage holds docs/security.md against the tests that it names: each exists where the
// page says, and each promise and threat has one.
func TestSecurityPage(t *testing.T) {
	for _, fault := range securityFaults(readPage(t, securityPage), func(file, name string) bool {
		return slices.Contains(testsIn(filepath.Join(filepath.Dir(securityPage), file)), name)
	}) {
		t.Error(fault)
	}
	if !strings.Contains(readPage(t, "SECURITY.md"), "("+securityPage+")") {
		t.Errorf("SECURITY.md does not lead to %s", securityPage)
	}
}

// testsIn are the tests in a file, none if it cannot be read.
func testsIn(path string) (names []string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil || !strings.HasSuffix(path, "_test.go") {
		return nil
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || f.Type.Params.NumFields() != 1 {
			continue
		}
		if star, ok := f.Type.Params.List[0].Type.(*ast.StarExpr); ok && types.ExprString(star.X) == "testing.T" {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// securityFaults are what is wrong with the page; exists tells whether a file has a test.
func securityFaults(page string, exists func(file, name string) bool) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	threats := map[string]int{} // by the letter of their attacker
	var attackers, promises []string
	seen := map[string]bool{}
	section := ""
	for line := range strings.Lines(page) {
		if h, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(h)
		}
		for _, m := range namedTest.FindAllStringSubmatch(line, -1) {
			if !exists(m[2], m[1]) {
				fault("there is no %s in %s", m[1], m[2])
			}
		}
		cells := tableCells(line)
		if cells == nil || cells[0] == "" { // the heads of these tables begin with an empty cell
			continue
		}
		id, tests := cells[0], namedTest.MatchString(cells[len(cells)-1])
		switch section {
		case "Attackers":
			attackers = append(attackers, id)
			continue
		case "Promises":
			promises = append(promises, id)
		case "Threats":
			if !rowID.MatchString(id) {
				fault("a threat has the id %q", id)
				continue
			}
			threats[id[:1]]++
		default:
			continue
		}
		if seen[id] {
			fault("%s is there twice", id)
		}
		seen[id] = true
		if len(cells) < 3 || slices.Contains(cells, "") {
			fault("%s has an empty cell", id)
		}
		if !tests {
			fault("%s names no test", id)
		}
	}
	if want := []string{"P1", "P2", "P3", "P4", "P5", "P6"}; !slices.Equal(promises, want) {
		fault("the promises are %v, not %v", promises, want)
	}
	for _, a := range attackers {
		if threats[a] == 0 {
			fault("%s is an attacker without a threat", a)
		}
		delete(threats, a)
	}
	for a := range threats {
		fault("there are threats of %s, who is no attacker", a)
	}
	return faults
}

// TestSecurityPageIsHeld breaks each rule once, so that the test above is known to see it.
func TestSecurityPageIsHeld(t *testing.T) {
	page := "## Attackers\n\n| | who |\n| --- | --- |\n| C | caller |\n\n## Promises\n\n| | promise | tests |\n| --- | --- | --- |\n"
	for i := range 6 {
		page += fmt.Sprintf("| P%d | text | [TestA](a_test.go) |\n", i+1)
	}
	page += "\n## Threats\n\n### The caller\n\n| | threat | control | tests |\n| --- | --- | --- | --- |\n| C1 | bad | good | [TestA](a_test.go), [TestB](b_test.go) |\n"
	for _, c := range []struct{ name, old, new, fault string }{
		{"as it is", "", "", ""},
		{"a test that is not there", "[TestB](b_test.go)", "[TestB](a_test.go)", "there is no TestB in a_test.go"},
		{"a threat without a test", "[TestA](a_test.go), [TestB](b_test.go)", "of course", "C1 names no test"},
		{"a test that is only in the text", "| C1 | bad | good | [TestA](a_test.go), [TestB](b_test.go) |", "| C1 | [TestA](a_test.go) | good | none |", "C1 names no test"},
		{"a promise without a test", "| P3 | text | [TestA](a_test.go) |", "| P3 | text | |", "P3 names no test"},
		{"a promise that is gone", "| P6 | text | [TestA](a_test.go) |\n", "", "the promises are"},
		{"a threat twice", "| C1 |", "| C1 | x | y | [TestA](a_test.go) |\n| C1 |", "C1 is there twice"},
		{"a threat without an id", "| C1 |", "| - |", `the id "-"`},
		{"a threat without a control", "| bad | good |", "| bad | |", "C1 has an empty cell"},
		{"an attacker without a threat", "| C | caller |", "| C | caller |\n| X | x |", "X is an attacker without"},
		{"a threat of nobody", "| C1 |", "| Y1 | x | y | [TestA](a_test.go) |\n| C1 |", "threats of Y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(page, c.old, c.new, 1)
			if c.old != "" && changed == page {
				t.Fatal("nothing was changed")
			}
			faults := securityFaults(changed, func(file, name string) bool {
				return name+" in "+file == "TestA in a_test.go" || name+" in "+file == "TestB in b_test.go"
			})
			if c.fault == "" && len(faults) > 0 || c.fault != "" && !strings.Contains(strings.Join(faults, "; "), c.fault) {
				t.Errorf("got %q, want %q", faults, c.fault)
			}
		})
	}
	if names := testsIn(filepath.Join("test", "docs", "security_test.go")); !slices.Equal(names, []string{"TestSecurityPage", "TestSecurityPageIsHeld"}) {
		t.Errorf("tests of this file: %v", names)
	}
	if names := testsIn(filepath.Join("test", "process_test.go")); slices.Contains(names, "TestMain") {
		t.Error("TestMain is no test")
	}
}
