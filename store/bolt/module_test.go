package bolt

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestCaddyfile(t *testing.T) {
	for _, c := range []struct{ in, path, err string }{
		{"bolt", "", ""},
		{"bolt /var/lib/rr.db", "/var/lib/rr.db", ""},
		{"bolt {\n}", "", ""},
		{"bolt {\n path /var/lib/rr.db\n}", "/var/lib/rr.db", ""},
		{"bolt {\n path {env.RR_DATA}/rr.db\n}", "{env.RR_DATA}/rr.db", ""},
		{"bolt /a /b", "", "bolt has one path at most"},
		{"bolt /a {\n path /b\n}", "", "path is said twice"},
		{"bolt {\n path\n}", "", "path needs exactly one argument"},
		{"bolt {\n path /a /b\n}", "", "path needs exactly one argument"},
		{"bolt {\n sync off\n}", "", `unrecognized option "sync" of bolt; there is: path`},
	} {
		b := new(Bolt)
		err := b.UnmarshalCaddyfile(caddyfile.NewTestDispenser(c.in))
		switch {
		case c.err == "" && (err != nil || b.Path != c.path):
			t.Errorf("%q: path %q, %v", c.in, b.Path, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: %v, want %s", c.in, err, c.err)
		}
	}
}

func TestProvision(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("XDG_DATA_HOME", folder)
	t.Setenv("RR_DATA", folder)
	t.Chdir(folder)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"":                     filepath.Join(caddy.AppDataDir(), "rr", "rr.db"),
		"{env.RR_DATA}/x.db":   filepath.Join(real, "x.db"),
		"data/../data/rr.db":   filepath.Join(real, "data", "rr.db"),
		"{env.RR_UNSET}/rr.db": "error",
	} {
		b := &Bolt{Path: in}
		err := b.Provision(ctx)
		switch {
		case want == "error":
			if err == nil {
				t.Errorf("%q became %q", in, b.Path)
			}
		case err != nil || b.Key() != want || b.Folder() != filepath.Dir(want):
			t.Errorf("%q: %q in %q, %v; want %q", in, b.Key(), b.Folder(), err, want)
		}
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 {
		t.Errorf("it has made %v, %v", entries, err)
	}
}

// TestKey gives the same key to all paths of one file, whether it is there or not.
func TestKey(t *testing.T) {
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			t.Skip("not here: symbolic links: ", err)
		}
	}
	link("real", "folder")
	link("folder/rr.db", "file")
	link(filepath.Join(folder, "file"), "again")
	link("loop", "loop")
	key := func(name string) string { return (&Bolt{Path: filepath.Join(folder, name)}).Key() }
	want := filepath.Join(folder, "real", "rr.db")
	names := []string{"real/rr.db", "folder/rr.db", "./folder/../folder/rr.db", "file", "again"}
	for _, name := range names {
		if got := key(name); got != want {
			t.Errorf("before it is there, %s is %s, want %s", name, got, want)
		}
	}
	write(t, must(t, filepath.Join(folder, "again")), put("b", "k", 1, "v"))
	for _, name := range names {
		if got := key(name); got != want {
			t.Errorf("when it is there, %s is %s, want %s", name, got, want)
		}
	}
	if _, err := os.Lstat(want); err != nil {
		t.Error(err)
	}
	if _, err := (&Bolt{Path: filepath.Join(folder, "loop")}).Open(t.Context()); err == nil {
		t.Error("a link to itself was opened")
	}
}
