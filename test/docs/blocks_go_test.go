package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// goCode checks Go: it is in a package of this repository, or it compiles.
func goCode(t *testing.T, b rrtest.Block) error {
	if inSourceOf(b, "verify", "inject", "store", "examples/guest-kind") == nil {
		return nil
	}
	return compile(t, b)
}

// goPackages are the packages that blocks use.
var goPackages = map[string]string{
	"caddy": "github.com/caddyserver/caddy/v2", "caddyfile": "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile",
	"verify": modulePath + "/verify", "inject": modulePath + "/inject", "secret": modulePath + "/store/secret",
	"store": modulePath + "/store", "storetest": modulePath + "/store/storetest", "stripe": "github.com/stripe/stripe-go/v82",
	"testing": "testing", "http": "net/http", "context": "context",
}

// goBefore is what pages say in words of what blocks use, by a word of the block.
var goBefore = map[string]string{
	"&Files{": "type Files struct {\n\tstore.Opener\n\tDir string\n}\n",
}

// compile compiles declarations, or the statements of a function.
func compile(t *testing.T, b rrtest.Block) error {
	body, module := b.Text, "."
	if strings.HasPrefix(b.File, "examples/stripe/") {
		module = "examples/stripe"
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+body, 0); err != nil {
		for _, m := range regexp.MustCompile(`(?m)^(\w+)(?:, (\w+))? :=`).FindAllStringSubmatch(body, -1) {
			body += "\t_ = " + m[1] + "\n"
		}
		body = "func _(t *testing.T, key, gatewayKey string) {\n" + body + "}\n"
	}
	for word, before := range goBefore {
		if strings.Contains(body, word) {
			body = before + body
		}
	}
	head := "package p\n"
	for name, path := range goPackages {
		if regexp.MustCompile(`\b` + name + `\.`).MatchString(body) {
			head += fmt.Sprintf("import %s %q\n", name, path)
		}
	}
	// a package that is only in the go command's view of the module
	top, err := filepath.Abs(module)
	if err != nil {
		return err
	}
	file := write(t, t.TempDir(), "/block.go", head+body)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(top, "pageblock", "block.go"): file}})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", write(t, t.TempDir(), "/overlay.json", string(overlay)), "./pageblock")
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %s\n%s", err, out, head+body)
	}
	return nil
}

// inSourceOf reports whether the lines of a block are, in this order and without others
// between them but comments, in a file of the folders.
func inSourceOf(b rrtest.Block, folders ...string) error {
	want := codeLines(b.Text)
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil || strings.HasSuffix(file, ".md") {
				continue
			}
			if strings.Contains("\n"+codeLines(string(text)), "\n"+want) {
				return nil
			}
		}
	}
	return fmt.Errorf("these lines are in no file of %v:\n%s", folders, want)
}

var goComment = regexp.MustCompile(`(?m)^\s*//.*\n|[ \t]+//.*$`)

// codeLines are the lines of code, without indentation, comments and empty lines.
func codeLines(text string) string {
	if formatted, err := format.Source([]byte(text)); err == nil {
		text = string(formatted)
	}
	var b strings.Builder
	for line := range strings.Lines(goComment.ReplaceAllString(text, "")) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// guestKind checks the JSON of a kind that is in a module of its own: its members are
// those of a structure there.
func guestKind(b rrtest.Block) error {
	var kind map[string]any
	if err := json.Unmarshal([]byte(b.Text), &kind); err != nil {
		return err
	}
	files, err := filepath.Glob("examples/guest-kind/*.go")
	if err != nil {
		return err
	}
	var all []byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		all = append(all, text...)
	}
	for name := range kind {
		if name != "kind" && !bytes.Contains(all, []byte("`json:\""+name+",")) {
			return fmt.Errorf("no kind there has %s", name)
		}
	}
	return nil
}
