// Package docs holds the pages of this repository against the code: each page has a test file
// of its name, beside those that judge all pages, for links and for blocks of code. What needs
// a whole gateway, as the commands on the pages do, is in package test.
package docs

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/caddy-rr/caddy-rr"

var update = flag.Bool("update", false, "write the pages that are made from the code anew")

// TestMain has the tests read the repository from its top.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

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
	_, after, ok := strings.Cut("\n"+readPage(t, file), "\n"+title+"\n")
	if !ok {
		t.Fatalf("%s has no heading %s", file, title)
	}
	level, _, _ := strings.Cut(title, " ")
	part, _, _ := strings.Cut(after, "\n"+level+" ")
	return part
}

// tableCells are the cells of a row of a table, its head too; nil for what is none, as the
// rule below the head.
func tableCells(line string) (cells []string) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") {
		return nil
	}
	from := 1
	for i := 1; i < len(line); i++ {
		if line[i] == '|' && line[i-1] != '\\' {
			cells = append(cells, strings.TrimSpace(line[from:i]))
			from = i + 1
		}
	}
	return cells
}

var span = regexp.MustCompile("``(.+?)``|`([^`]+)`")

// spans are the pieces of code in a cell.
func spans(cell string) (texts []string) {
	for _, m := range span.FindAllStringSubmatch(cell, -1) {
		texts = append(texts, strings.ReplaceAll(strings.TrimSpace(m[1]+m[2]), `\|`, "|"))
	}
	return texts
}

// readPage is the text of a file, named from the top of the repository.
func readPage(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
