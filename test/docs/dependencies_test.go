package docs

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dependenciesPage has a reason for each module that this project itself asks for.
const dependenciesPage = "docs/dependencies.md"

// goModules are the folders of the go.mod files, and the heading of the page under which
// their direct dependencies are. The root's are under two, see [expectedRows].
var goModules = map[string]string{
	"internal/api/openapitest": "Tests only",
	"examples/stripe":          "Tests only",
	"examples/guest-kind":      "In the binary",
	"tools":                    "Tools",
}

// releaseTags are those that what is published is built with (internal/release).
const releaseTags = "-tags=nobadger,nomysql,nopgx"

// dependency is a row of a table on the page.
type dependency struct{ heading, licence, importers string }

var dependencyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]*) \\| ([^|]+) \\|")

// TestDependenciesPage compares the page with the go.mod files, with who imports what, and with
// the licences in the module cache.
func TestDependenciesPage(t *testing.T) {
	listed := map[string]dependency{}
	for _, part := range strings.Split(readPage(t, dependenciesPage), "\n## ")[1:] {
		title, body, _ := strings.Cut(part, "\n")
		for _, m := range dependencyRow.FindAllStringSubmatch(body, -1) {
			if _, twice := listed[m[1]]; twice {
				t.Errorf("%s is listed twice", m[1])
			}
			listed[m[1]] = dependency{title, m[2], m[3]}
		}
	}
	for _, fault := range dependencyFaults(listed, expectedRows(t)) {
		t.Error(fault)
	}
}

// TestDependencyFaults: what is missing, gone or wrong on the page is found.
func TestDependencyFaults(t *testing.T) {
	real := map[string]dependency{"example.com/a": {"Tests only", "MIT", "`verify`"}}
	for _, c := range []struct {
		name   string
		listed map[string]dependency
		fault  string
	}{
		{"right", real, ""},
		{"missing", nil, "example.com/a is missing"},
		{"gone", map[string]dependency{"example.com/a": real["example.com/a"], "example.com/b": {}}, "example.com/b is not"},
		{"licence", map[string]dependency{"example.com/a": {"Tests only", "ISC", "`verify`"}}, "example.com/a stands with"},
		{"importer", map[string]dependency{"example.com/a": {"Tests only", "MIT", "`inject`"}}, "example.com/a stands with"},
		{"heading", map[string]dependency{"example.com/a": {"In the binary", "MIT", "`verify`"}}, "example.com/a stands with"},
	} {
		faults := strings.Join(dependencyFaults(c.listed, real), "; ")
		if (c.fault == "") != (faults == "") || !strings.Contains(faults, c.fault) {
			t.Errorf("%s: %q, want %q", c.name, faults, c.fault)
		}
	}
}

func dependencyFaults(listed, expected map[string]dependency) []string {
	var faults []string
	for _, path := range slices.Sorted(maps.Keys(expected)) {
		switch row, ok := listed[path]; {
		case !ok:
			faults = append(faults, fmt.Sprintf("%s is missing in %s: %+v", path, dependenciesPage, expected[path]))
		case row != expected[path]:
			faults = append(faults, fmt.Sprintf("%s stands with %+v in %s, it is %+v", path, row, dependenciesPage, expected[path]))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(listed)) {
		if _, ok := expected[path]; !ok {
			faults = append(faults, path+" is not a direct dependency any more: take it off "+dependenciesPage)
		}
	}
	return faults
}

// expectedRows are what the page should have.
func expectedRows(t *testing.T) map[string]dependency {
	shipped, importers := importersOf(t)
	expected := map[string]dependency{}
	for path, licence := range directDependencies(t, ".") {
		heading := "Tests only"
		if shipped[path] {
			heading = "In the binary"
		}
		expected[path] = dependency{heading, licence, nameImporters(importers[path])}
	}
	for folder, heading := range goModules {
		for path, licence := range directDependencies(t, folder) {
			if _, known := expected[path]; !known {
				expected[path] = dependency{heading, licence, nameImporters([]string{folder})}
			}
		}
	}
	return expected
}

// nameImporters is how the page names importers: up to three, or how many there are.
func nameImporters(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%d packages", len(names))
	}
	return "`" + strings.Join(slices.Sorted(slices.Values(names)), "`, `") + "`"
}

// importersOf finds, for each library, the packages of this module that import it, in what is
// built if any of those does, otherwise in the tests. shipped are the libraries that a package of
// the binary imports itself.
func importersOf(t *testing.T) (shipped map[string]bool, importers map[string][]string) {
	t.Helper()
	shipped, importers = map[string]bool{}, map[string][]string{}
	inTests := map[string][]string{}
	inBinary := map[string]bool{}
	for _, path := range strings.Fields(run(t, "go", "list", releaseTags, "-deps", "./cmd/caddy")) {
		inBinary[path] = true
	}
	library := map[string]string{}
	type testedPackage struct {
		ImportPath, ForTest                string
		Imports, TestImports, XTestImports []string
		Module                             *struct{ Path string }
	}
	var own []testedPackage
	for _, p := range decodeAll[testedPackage](t, run(t, "go", "list", "-deps", "-test", "-json=ImportPath,Imports,TestImports,XTestImports,ForTest,Module", "./...")) {
		switch {
		case p.Module == nil || p.ForTest != "" || strings.HasSuffix(p.ImportPath, ".test"):
		case p.Module.Path == modulePath:
			own = append(own, p)
		default:
			library[p.ImportPath] = p.Module.Path
		}
	}
	note := func(in map[string][]string, name string, paths []string) {
		for _, path := range paths {
			if module := library[path]; module != "" && !slices.Contains(in[module], name) {
				in[module] = append(in[module], name)
			}
		}
	}
	for _, p := range own {
		name, _ := ownName(p.ImportPath)
		note(importers, name, p.Imports)
		note(inTests, name, append(p.TestImports, p.XTestImports...))
		for _, path := range p.Imports {
			if module := library[path]; module != "" && inBinary[p.ImportPath] {
				shipped[module] = true
			}
		}
	}
	for module, names := range inTests {
		if len(importers[module]) == 0 {
			importers[module] = names
		}
	}
	return shipped, importers
}

// directDependencies are the modules that the go.mod of the folder asks for itself, and their
// licences.
func directDependencies(t *testing.T, folder string) map[string]string {
	t.Helper()
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	if err := json.Unmarshal([]byte(run(t, "go", "-C", folder, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	licences := map[string]string{}
	for _, r := range mod.Require {
		tool := slices.ContainsFunc(mod.Tool, func(tool struct{ Path string }) bool { return strings.HasPrefix(tool.Path+"/", r.Path+"/") })
		if (!r.Indirect || tool) && r.Path != modulePath {
			licences[r.Path] = ""
		}
	}
	paths := slices.Sorted(maps.Keys(licences))
	download := append([]string{"-C", folder, "mod", "download", "-json"}, paths...) // says where they are
	for _, m := range decodeAll[struct{ Path, Dir string }](t, run(t, "go", download...)) {
		licences[m.Path] = licenceIn(t, m.Dir)
	}
	return licences
}

// licenceMarks are words of each licence that the others do not have, in the order in which they
// are looked for.
var licenceMarks = []struct{ name, words string }{
	{"Apache-2.0", "apache license version 2.0"},
	{"MPL-2.0", "mozilla public license version 2.0"},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose"},
	{"BSD-3-Clause", "be used to endorse or promote products derived from"},
}

// licenceIn recognises the licence, or licences, of the module in the folder.
func licenceIn(t *testing.T, folder string) string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(folder, "LICEN[CS]E*"))
	more, _ := filepath.Glob(filepath.Join(folder, "COPYING*"))
	var found []string
	for _, file := range append(files, more...) {
		words := strings.NewReplacer("license, version", "license version").Replace(strings.ToLower(strings.Join(strings.Fields(readPage(t, file)), " ")))
		for _, mark := range licenceMarks {
			if strings.Contains(words, mark.words) && !slices.Contains(found, mark.name) {
				found = append(found, mark.name)
			}
		}
	}
	if len(found) == 0 {
		t.Errorf("no licence is recognised in %q", folder)
	}
	slices.Sort(found)
	return strings.Join(found, " and ")
}

// TestAddedModules: the page names what rr adds to the modules of Caddy itself.
func TestAddedModules(t *testing.T) {
	const format = "{{with .Module}}{{.Path}}{{end}}"
	caddys := strings.Fields(run(t, "go", "list", releaseTags, "-deps", "-f", format, "github.com/caddyserver/caddy/v2/cmd", "github.com/caddyserver/caddy/v2/modules/standard"))
	ours := strings.Fields(run(t, "go", "list", releaseTags, "-deps", "-f", format, "./cmd/caddy"))
	slices.Sort(ours)
	var added []string
	for _, path := range slices.Compact(ours) {
		if !slices.Contains(caddys, path) && path != modulePath {
			added = append(added, "`"+path+"`")
		}
	}
	want := fmt.Sprintf("%d modules: %s.", len(added), strings.Join(added, ", "))
	if !strings.Contains(strings.Join(strings.Fields(readPage(t, dependenciesPage)), " "), want) {
		t.Errorf("%s does not say: %s", dependenciesPage, want)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, args, err)
	}
	return string(out)
}

func decodeAll[T any](t *testing.T, text string) []T {
	t.Helper()
	var all []T
	for decoder := json.NewDecoder(strings.NewReader(text)); decoder.More(); {
		var item T
		if err := decoder.Decode(&item); err != nil {
			t.Fatal(err)
		}
		all = append(all, item)
	}
	return all
}
