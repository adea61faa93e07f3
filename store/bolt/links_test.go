//go:build unix

package bolt

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestLinksAreBounded follows links in a circle, and a chain that is too long.
func TestLinksAreBounded(t *testing.T) {
	dir := t.TempDir()
	link := func(to, from string) string {
		path := filepath.Join(dir, from)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link("b", "a")
	link("a", "b")
	if got := resolve(filepath.Join(dir, "a", "rr.db"), maxLinks); got == "" {
		t.Error("a circle leads nowhere")
	}
	link("missing", "l0")
	for i := range maxLinks + 10 {
		link(fmt.Sprint("l", i), fmt.Sprint("l", i+1))
	}
	last := filepath.Join(dir, "missing")
	if got := resolve(filepath.Join(dir, "l5"), maxLinks); got != last {
		t.Errorf("five links lead to %s", got)
	}
	if got := resolve(filepath.Join(dir, fmt.Sprint("l", maxLinks+5)), maxLinks); got == last {
		t.Errorf("%d links are followed", maxLinks+5)
	}
}
