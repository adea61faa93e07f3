package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesAreBounded(t *testing.T) {
	for n, taken := range map[int]bool{maxFile: true, maxFile + 1: false} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(strings.Repeat("s", n)), 0o600); err != nil {
			t.Fatal(err)
		}
		if text, _, err := read(path); (err == nil) != taken || taken && len(text) != n {
			t.Errorf("a file of %d bytes: %v", n, err)
		}
	}
	if _, _, err := read("/dev/zero"); err == nil {
		t.Error("a device without end is a secret")
	}
}
