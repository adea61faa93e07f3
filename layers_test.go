package rr_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/caddy-rr/caddy-rr"

// layers are the packages of this module, from the bottom up; a package imports
// only from layers below its own. The ones that no release has yet are named
// too, so that their place is decided before they are written.
var layers = [][]string{
	{"internal/strictjson", "internal/fetch"}, // what is read from others, and how
	{"internal/rule", "internal/filter", "internal/meter", "internal/metrics", "internal/redact", "internal/jose", "internal/discovery", "internal/httpsig", "store/secret"},
	{"store", "internal/audit", "internal/exchange", "internal/jwks", "internal/dpop", "internal/oauth", "inject/token"},
	{"internal/logsafe"}, // the log encoder
	{"internal/host"},    // what verify and inject both need of Caddy
	{"verify", "inject", "store/bolt", "store/redis"},
	{"internal/catalog", "internal/wire", "internal/cli"},
	{"internal/api"},
	{"."},
	{"cmd/caddy", "examples", "test", "test/docs", "test/chaos", "test/chaos/caddy"},
}

// caddyFree is how many of the lowest layers must not depend on Caddy, not even
// through others: what decides and what remembers can be read, tested and fuzzed
// without a server.
const caddyFree = 3

// testKit is for tests only: no package outside it may import it.
var testKit = []string{"internal/rrtest", "store/storetest"}

// standalone are programs and examples: what is not a test in them imports nothing of
// the module but their own parts.
var standalone = []string{"internal/bench", "internal/release", "examples"}

// sharedLibraries may have several importers, for the reason given; every other
// library has one, so that replacing it is a change in one place.
var sharedLibraries = map[string]string{
	"github.com/caddyserver/caddy/v2":     "rr is a plugin of it",
	"go.uber.org/zap":                     "Caddy's logger type",
	"github.com/prometheus/client_golang": "Caddy's metrics registry type",
	"golang.org/x/crypto":                 "hashes of passwords are checked, made, and turned into keys in different places",
	"golang.org/x/net":                    "what net/http itself uses to judge headers and hosts",
}

// goPackage is what the test needs of `go list -json`.
type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Module     *struct{ Path string }
}

func TestImportsPointDown(t *testing.T) {
	packages := listPackages(t)
	for _, fault := range importFaults(packages) {
		t.Error(fault)
	}
	for _, fault := range libraryFaults(packages) {
		t.Error(fault)
	}
}

// TestImportRulesAreEnforced breaks every rule once, so that the test above is
// known to see it.
func TestImportRulesAreEnforced(t *testing.T) {
	for _, c := range []struct {
		rule     string
		importer string
		imports  string
		fault    string
	}{
		{"down is allowed", "verify", "internal/rule", ""},
		{"the root may import all layers", ".", "internal/cli", ""},
		{"the command may import the root", "cmd/caddy", ".", ""},
		{"the test kit may import the test kit", "internal/rrtest", "internal/rrtest/fakeopenai", ""},
		{"never up", "internal/rule", "internal/exchange", "must be below"},
		{"never sideways", "verify", "inject", "must be below"},
		{"never the root", "internal/cli", ".", "must be below"},
		{"never the root from the test kit", "internal/rrtest", ".", "test kit"},
		{"never the test kit", "verify", "internal/rrtest", "test kit"},
		{"programs stand alone", "internal/bench", "internal/rule", "stand alone"},
		{"no package without a place", "internal/misc", "internal/rule", "no layer"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			faults := importFaults([]goPackage{{ImportPath: inModule(c.importer), Imports: []string{inModule(c.imports)}}})
			expectFault(t, faults, c.fault)
		})
	}
	t.Run("no Caddy below, not even through others", func(t *testing.T) {
		faults := importFaults([]goPackage{{ImportPath: inModule("store"), Deps: []string{"fmt", "github.com/caddyserver/certmagic"}}})
		expectFault(t, faults, "depends on Caddy")
	})
	t.Run("one importer for each library", func(t *testing.T) {
		library := goPackage{ImportPath: "example.com/lib/part", Module: &struct{ Path string }{"example.com/lib"}}
		one := goPackage{ImportPath: inModule("verify"), Imports: []string{library.ImportPath}}
		two := goPackage{ImportPath: inModule("inject"), Imports: []string{library.ImportPath}}
		expectFault(t, libraryFaults([]goPackage{library, one}), "")
		expectFault(t, libraryFaults([]goPackage{library, one, two}), "example.com/lib is imported by")
	})
}

// importFaults are the imports within the module that break the rules.
func importFaults(packages []goPackage) []string {
	var faults []string
	for _, p := range packages {
		name, ours := ownName(p.ImportPath)
		if !ours {
			continue
		}
		for _, path := range p.Imports {
			if imported, ours := ownName(path); ours {
				if fault := importFault(name, imported); fault != "" {
					faults = append(faults, fault)
				}
			}
		}
		switch layer, placed := layerOf(name); {
		case !placed && !within(name, testKit) && !within(name, standalone):
			faults = append(faults, name+" has no layer: give it one in layers_test.go")
		case placed && layer < caddyFree && slices.ContainsFunc(p.Deps, isCaddy):
			faults = append(faults, name+" depends on Caddy: its layer must not")
		}
	}
	return faults
}

// importFault is what is wrong with one import, "" when nothing is.
func importFault(name, imported string) string {
	kit := within(name, testKit)
	switch {
	case within(name, standalone):
		if !within(imported, standalone) {
			return fmt.Sprintf("%s imports %s: it must stand alone", name, imported)
		}
		return ""
	case within(imported, testKit) && !kit:
		return fmt.Sprintf("%s imports %s: the test kit is for tests only", name, imported)
	case kit && imported == ".":
		return fmt.Sprintf("the test kit %s imports the root: a test brings the plugin itself", name)
	}
	own, placed := layerOf(name)
	below, known := layerOf(imported)
	if !placed || !known || below < own {
		return "" // what has no layer is reported once, for itself
	}
	return fmt.Sprintf("%s (layer %d) imports %s (layer %d): what a package imports must be below it", name, own, imported, below)
}

// libraryFaults are the libraries that more than one package imports.
func libraryFaults(packages []goPackage) []string {
	library := map[string]string{}
	for _, p := range packages {
		if p.Module != nil && p.Module.Path != modulePath {
			library[p.ImportPath] = p.Module.Path
		}
	}
	importers := map[string][]string{}
	for _, p := range packages {
		name, ours := ownName(p.ImportPath)
		if !ours || within(name, testKit) || within(name, standalone) {
			continue
		}
		for _, path := range p.Imports {
			if module := library[path]; module != "" && sharedLibraries[module] == "" && !slices.Contains(importers[module], name) {
				importers[module] = append(importers[module], name)
			}
		}
	}
	var faults []string
	for module, names := range importers {
		if len(names) > 1 {
			faults = append(faults, fmt.Sprintf("%s is imported by %s: let one package own it", module, strings.Join(names, ", ")))
		}
	}
	return faults
}

// listPackages asks the go command for this module's packages and all they need.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	command := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Deps,Module", "./...")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if !slices.ContainsFunc(packages, func(p goPackage) bool { return p.ImportPath == modulePath }) {
		t.Fatal("go list did not list this package")
	}
	return packages
}

// ownName is a package's name within this module, "." for the root.
func ownName(path string) (name string, ours bool) {
	if path == modulePath {
		return ".", true
	}
	return strings.CutPrefix(path, modulePath+"/")
}

func inModule(name string) string {
	if name == "." {
		return modulePath
	}
	return modulePath + "/" + name
}

func layerOf(name string) (layer int, placed bool) {
	layer = slices.IndexFunc(layers, func(names []string) bool { return slices.Contains(names, name) })
	return layer, layer >= 0
}

// within tells whether a package is one of these or lies in a folder of theirs.
func within(name string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		return name == folder || strings.HasPrefix(name, folder+"/")
	})
}

func isCaddy(path string) bool { return strings.HasPrefix(path, "github.com/caddyserver/") }

func expectFault(t *testing.T, faults []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(faults) > 0:
		t.Errorf("unexpected: %v", faults)
	case want != "" && (len(faults) != 1 || !strings.Contains(faults[0], want)):
		t.Errorf("faults are %q, want one with %q", faults, want)
	}
}
