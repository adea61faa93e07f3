package rr_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestAdapt adapts each testdata/adapt/*.caddyfiletest: a Caddyfile, a line of ten
// hyphens, and the JSON or the error that it must become.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in, want, _ := strings.Cut(string(text), "----------\n")
			got := adaptText(t, in)
			if *update {
				if err := os.WriteFile(file, []byte(in+"----------\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if !*update && got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if isError := strings.HasPrefix(name, "err_"); isError == strings.HasPrefix(got, "{") {
				t.Errorf("files named err_ hold errors, others JSON; this is:\n%s", got)
			}
		})
	}
}

func adaptText(t *testing.T, caddyfile string) string {
	t.Helper()
	// imported files are beside the golden ones
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error() + "\n"
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Errorf("warning: %v", w)
		}
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, adapted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return pretty.String() + "\n"
}
