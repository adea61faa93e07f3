package examples

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEveryExampleIsTested holds every folder to the rules that the page states: it has a page,
// it is in the list, a test runs it, and what it answers is written down, in one of
//
//   - expected.txt, which a test compares with what came;
//   - the page: its curl lines with their statuses, or what a script prints, as text;
//   - the tests of a Go module of its own.
func TestEveryExampleIsTested(t *testing.T) {
	index := readText(t, "README.md")
	ran := literals(t, "*_test.go")
	count := 0
	for _, folder := range folders(t, ".") {
		page := filepath.Join(folder, "README.md")
		if _, err := os.Stat(page); err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(index, "| ["+folder+"]("+folder+"/) |") {
			t.Errorf("the list in README.md has no %s", folder)
		}
		if !ran[folder] && !tested(t, folder) {
			t.Errorf("no test runs %s", folder)
		}
		if text := readText(t, page); !exists(folder, "expected.txt") && !tested(t, folder) &&
			len(statusOnPage.FindAllString(text, -1)) < 3 && !strings.Contains(text, "```text\n") {
			t.Errorf("%s does not say what comes", folder)
		}
		count++
	}
	if count < 13 {
		t.Errorf("only %d folders found", count)
	}
	for _, folder := range folders(t, decisionTable) { // TestDecisionTable runs each
		for _, file := range []string{"README.md", "Caddyfile", "api.sh", "calls.sh", "expected.txt"} {
			if !exists(decisionTable, folder, file) {
				t.Errorf("%s/%s has no %s", decisionTable, folder, file)
			}
		}
	}
}

var statusOnPage = regexp.MustCompile(`(?m)^curl .*# [1-5]\d\d\b`)

func exists(elements ...string) bool {
	_, err := os.Stat(filepath.Join(elements...))
	return err == nil
}

func folders(t *testing.T, at string) []string {
	t.Helper()
	entries, err := os.ReadDir(at)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "testdata" {
			names = append(names, e.Name())
		}
	}
	return names
}

// tested tells whether a folder is a Go module with tests; `make test` runs those of all.
func tested(t *testing.T, folder string) bool {
	t.Helper()
	files, err := filepath.Glob(folder + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return len(files) > 0 && exists(folder, "go.mod")
}

// literals are the first path elements of all texts in the tests of this folder, but for this
// file: a test that runs an example names its folder.
func literals(t *testing.T, pattern string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, file := range files {
		if file == "index_test.go" {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				text, _ := strconv.Unquote(l.Value) // the parser has accepted it
				first, _, _ := strings.Cut(text, "/")
				found[first] = true
			}
			return true
		})
	}
	return found
}
