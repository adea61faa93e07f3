package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const canary = "canary-3f9a5c1e77d24b08"

// The printer that a compiler derives for debugging printed the secret with the rest.
// Sources: NVIDIA/OpenShell#1322
// Here: The types of secrets print nothing of themselves, in any verb of fmt, in JSON or in a log.
// Topic: writeonly
func TestPeer_openshell_1322_ASecretDoesNotPrint(t *testing.T) {
	v := Static(canary)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", String(canary), "t", Template(canary), "v", v)
	encoded, err := json.Marshal(map[string]any{"v": v})
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"%v":     fmt.Sprintf("%v %v %v", String(canary), Template(canary), v),
		"%+v":    fmt.Sprintf("%+v", struct{ S String }{canary}),
		"%#v":    fmt.Sprintf("%#v %#v %#v", String(canary), Template(canary), v),
		"%s":     fmt.Sprintf("%s %s", String(canary), v),
		"slog":   log.String(),
		"json":   string(encoded),
		"errors": fmt.Sprint(fmt.Errorf("with %v", v)),
	} {
		if strings.Contains(text, canary) {
			t.Errorf("%s shows the secret: %s", what, text)
		}
	}
}

func TestAStringEncodesAsWritten(t *testing.T) {
	b, err := json.Marshal(String("{env.KEY}"))
	if err != nil || string(b) != `"{env.KEY}"` {
		t.Errorf("an adapted configuration would lose the placeholder: %s, %v", b, err)
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("RR_TEST_KEY", "from-env")
	t.Setenv("RR_TEST_EMPTY", "")
	t.Setenv("RR_TEST_NESTED", "{env.RR_TEST_KEY}")
	good, empty, newline := file("good", "from-file\r\n"), file("empty", "\n"), file("two", "a\n\n")
	for _, tt := range []struct {
		name, in, want, err string
		literals            int
	}{
		{name: "an environment variable", in: "{env.RR_TEST_KEY}", want: "from-env"},
		{name: "a file without its line end", in: "{file." + good + "}", want: "from-file"},
		{name: "only one line end goes", in: "{file." + newline + "}", want: "a\n"},
		{name: "a value that looks like a placeholder stays text", in: "{env.RR_TEST_NESTED}", want: "{env.RR_TEST_KEY}"},
		{name: "a literal", in: "s3cr3t", want: "s3cr3t", literals: 1},
		{name: "a literal with braces inside", in: `a{b}c`, want: `a{b}c`, literals: 1},
		{name: "nothing", in: "", err: "empty"},
		{name: "an unset variable", in: "{env.RR_TEST_UNSET}", err: "{env.RR_TEST_UNSET}: the environment variable is not set or empty"},
		{name: "an empty variable", in: "{env.RR_TEST_EMPTY}", err: "not set or empty"},
		{name: "an empty file", in: "{file." + empty + "}", err: "the file is empty"},
		{name: "a missing file", in: "{file." + dir + "/none}", err: "cannot read the file: no such file"},
		{name: "a directory", in: "{file." + dir + "}", err: "not a regular file"},
		{name: "a relative file", in: "{file.token}", err: "must be absolute"},
		{name: "what Caddy's shorthand makes of it in a site", in: "{http.request.uri.path.file.token}", err: "needs an absolute path"},
		{name: "another placeholder", in: "{http.request.header.X}", err: "unknown placeholder {http.request.header.X}"},
		{name: "text around a placeholder", in: "x{env.RR_TEST_KEY}", err: "one placeholder alone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			literals := 0
			e := &Expander{Literal: func() { literals++ }}
			v, err := String(tt.in).Resolve(e.Context(t.Context()))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || v.Get() != tt.want || literals != tt.literals {
				t.Errorf("got %q, %v, %d literals", v.Get(), err, literals)
			}
		})
	}
}

func TestWithoutAnExpanderTextIsTheValue(t *testing.T) {
	t.Setenv("RR_TEST_KEY", "from-env")
	for _, in := range []string{"{env.RR_TEST_KEY}", "{file./etc/hostname}", "x{env.RR_TEST_KEY}y"} {
		v, err := String(in).Resolve(context.Background())
		w, err2 := Template(in).Resolve(context.Background())
		if err != nil || err2 != nil || v.Get() != in || w.Get() != in {
			t.Errorf("%q was expanded to %q and %q (%v, %v)", in, v.Get(), w.Get(), err, err2)
		}
	}
	if _, err := String("").Resolve(context.Background()); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty secret is %v", err)
	}
}

func TestTemplateHoldsSeveralSecrets(t *testing.T) {
	t.Setenv("RR_TEST_A", "one{env.RR_TEST_B}")
	t.Setenv("RR_TEST_B", "two")
	e := &Expander{}
	v, err := Template(`id="{env.RR_TEST_A}", {"k":"{env.RR_TEST_B}"}`).Resolve(e.Context(t.Context()))
	if want := `id="one{env.RR_TEST_B}", {"k":"two"}`; err != nil || v.Get() != want {
		t.Errorf("got %q, %v, want %q", v.Get(), err, want)
	}
	if _, err := Template("a{env.RR_TEST_NONE}b").Resolve(e.Context(t.Context())); err == nil {
		t.Error("an unresolved part was accepted")
	}
	if _, err := Template("a{env.RR_TEST_A").Resolve(e.Context(t.Context())); err == nil {
		t.Error("a placeholder without end was accepted")
	}
}

func TestFileFollowsChanges(t *testing.T) {
	dir := t.TempDir()
	// as Kubernetes does it: the file is a link through ..data to a versioned folder
	version := func(name, text string) {
		d := filepath.Join(dir, name)
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "key"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tmp := filepath.Join(dir, "..tmp")
		if err := os.Symlink(name, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("v1", "first")
	path := filepath.Join(dir, "key")
	if err := os.Symlink(filepath.Join("..data", "key"), path); err != nil {
		t.Fatal(err)
	}
	var reports []string
	changes := 0
	e := &Expander{
		Report:  func(p string, err error) { reports = append(reports, fmt.Sprint(p == path, " ", err)) },
		Changed: func() { changes++ },
	}
	v, err := String("{file." + path + "}").Resolve(e.Context(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	both, err := Template("a:{file." + path + "}").Resolve(e.Context(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	v.OnChange(func(s string) { seen = append(seen, s) })

	e.Poll()
	version("v2", "2econd")
	e.Poll()
	if v.Get() != "2econd" || both.Get() != "a:2econd" || changes != 1 {
		t.Errorf("after the swap: %q %q, %d changes", v.Get(), both.Get(), changes)
	}
	version("v3", "")
	e.Poll()
	e.Poll()
	if err := os.Remove(filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	e.Poll()
	if v.Get() != "2econd" {
		t.Errorf("an empty or missing file replaced the last good value by %q", v.Get())
	}
	version("v4", "fourth")
	e.Poll()
	if v.Get() != "fourth" || strings.Join(seen, " ") != "first 2econd fourth" {
		t.Errorf("after the repair: %q, seen %q", v.Get(), seen)
	}
	if want := []string{"true the file is empty", "true <nil>"}; strings.Join(reports, "|") != strings.Join(want, "|") {
		t.Errorf("reports: %q, want %q", reports, want)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { new(Expander).Watch(ctx); close(done) }()
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Watch goes on after its context is done")
	}
}
