package rrtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Block is a block of code on a page.
type Block struct {
	File     string // from the top of the repository
	Line     int    // of its fence
	Language string // the first word behind the fence
	What     string // the words behind that
	Text     string // without the indentation of the fence
}

// Pages returns the pages of the repository whose top is root, by their path from there.
func Pages(t testing.TB, root string) map[string]string {
	t.Helper()
	pages := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == "bin" || len(d.Name()) > 2 && d.Name()[0] == '.'):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, path)
		pages[filepath.ToSlash(file)] = string(text)
		return err
	})
	if err != nil || len(pages) < 30 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	return pages
}

// Blocks are the blocks of a page in their order.
func Blocks(file, page string) (blocks []Block) {
	var open *Block
	indent := ""
	n := 0
	for line := range strings.Lines(page) {
		n++
		fence, info, found := strings.Cut(line, "```")
		switch fenced := found && strings.TrimSpace(fence) == ""; {
		case fenced && open == nil:
			language, what, _ := strings.Cut(strings.TrimSpace(info), " ")
			open, indent = &Block{File: file, Line: n, Language: language, What: strings.TrimSpace(what)}, fence
		case fenced:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.Text += strings.TrimPrefix(line, indent)
		}
	}
	return blocks
}
