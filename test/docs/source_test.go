package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// goFiles parses all Go files of this module, tests too, and calls f with each.
func goFiles(t *testing.T, f func(file string, syntax *ast.File)) {
	t.Helper()
	set := token.NewFileSet()
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != ".":
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" || file == "bin" {
				return filepath.SkipDir // another module, or none of ours
			}
			return nil
		case d.IsDir() || !strings.HasSuffix(file, ".go"):
			return nil
		}
		syntax, err := parser.ParseFile(set, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err == nil {
			f(filepath.ToSlash(file), syntax)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses the code of the packages that are in the binary, and calls f with each file.
func sources(t *testing.T, f func(file string, syntax *ast.File)) {
	t.Helper()
	inBinary := map[string]bool{}
	for _, path := range strings.Fields(run(t, "go", "list", "-deps", "./cmd/caddy")) {
		if name, ours := ownName(path); ours {
			inBinary[name] = true
		}
	}
	goFiles(t, func(file string, syntax *ast.File) {
		if inBinary[path.Dir(file)] && !strings.HasSuffix(file, "_test.go") {
			f(file, syntax)
		}
	})
}

// ownName is the folder of a package of this module, "." for the root.
func ownName(path string) (folder string, ours bool) {
	if path == modulePath {
		return ".", true
	}
	return strings.CutPrefix(path, modulePath+"/")
}

// docComments are the doc comments of the fields of all structures, by package, type and
// field, each as one line.
func docComments(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	sources(t, func(_ string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, f := range structure.Fields.List {
				for _, name := range f.Names {
					docs[file.Name.Name+"."+spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
			return true
		})
	})
	if len(docs) < 300 {
		t.Fatalf("only %d fields found", len(docs))
	}
	return docs
}
