package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// shellBlocks says of each block of shell on a page how it is tried: by a test that runs it,
// named folder.Test, or not at all, and then why. A block is told by its page and how it
// begins; without a beginning, the line is about all of the page. Every block is read by a
// shell, too.
var shellBlocks = []struct{ file, begins, by, why string }{
	{"README.md", "make run", "examples.TestQuickstart", ""},
	{"README.md", "KEY=$(caddy rr credentials create", "test.TestPagesCommandsOfTheReadme", ""},
	{"docs/api.md", "", "internal/api.TestDocsOfCalls", ""},
	{"docs/api-records.md", "curl localhost:2019", "test.TestPagesCalls", ""},
	{"docs/json.md", "curl -X PATCH", "test.TestPagesCalls", ""},
	{"docs/observability.md", "curl localhost:2019", "test.TestPagesCalls", ""},
	{"docs/audit.md", "sed -n 42p", "test.TestPagesCalls", ""},
	{"docs/store.md", "caddy rr backup", "test.TestPagesCalls", ""},
	{"docs/store.md", "caddy rr export", "test.TestPagesCalls", ""},
	{"docs/sigv4.md", "curl -H", "test.TestPagesCalls", ""},
	{"docs/migration.md", "", "test.TestPagesMigration", ""},
	{"docs/providers.md", "printenv TOKEN | jq", "test.TestPagesCalls", ""},
	{"docs/providers.md", "curl -sS https://tenant", "test.TestPagesCalls", ""},
	{"docs/providers.md", "printenv TOKEN | caddy rr check", "test.TestPagesCalls", ""},
	{"docs/providers.md", "journalctl", "test.TestPagesCalls", ""},
	{"docs/cli.md", "$ caddy rr authorize", "internal/cli.TestAuthorize", ""}, // and its lines are parsed by TestExamplesParse
	{"docs/cli.md", "", "test.TestPagesCommands", ""},
	{"docs/kinds.md", "xcaddy build", "", "the module is the reader's; CI builds examples/guest-kind so"},
	{"docs/deployment.md", "git clone", "", "there is no release yet; .ci/run makes one, checks it, and builds from two folders"},
	{"docs/deployment.md", "sudo", "", "systemd is not running here; .ci/unit.sh has systemd read the unit"},
	{"docs/deployment.md", "docker run", "", "no container engine is here; .ci/container.sh runs an image so, in the release workflow"},
	{"CONTRIBUTING.md", "make chaos", "", "it takes minutes; test/chaos runs its short form"},
	{"docs/deployment.md", "make bench", "", "it takes minutes; internal/bench.TestVariant reads such flags"},

	{"examples/README.md", "", "examples.TestPages", ""},
	{"examples/agents/README.md", "", "examples.TestPages", ""},
	{"examples/basic-upstream/README.md", "", "examples.TestPages", ""},
	{"examples/inline/README.md", "", "examples.TestPages", ""},
	{"examples/query-key/README.md", "", "examples.TestPages", ""},
	{"examples/github-app/README.md", "", "examples.TestTokenPages", ""},
	{"examples/session-login/README.md", "", "examples.TestTokenPages", ""},
	{"examples/api/README.md", "", "examples.TestAPI", ""},
	{"examples/llm/README.md", "", "examples.TestLLM", ""},
	{"examples/quickstart/README.md", "", "examples.TestQuickstart", ""},
	{"examples/stripe/README.md", "", "examples.TestStripe", ""},
	{"examples/guest-kind/README.md", "text=", "examples/guest-kind.TestThePage", ""},
	{"examples/guest-kind/README.md", "xcaddy build", "", "CI builds it so, in a step of its own"},
	{"examples/decision-table/README.md", "", "examples.TestDecisionTableTry", ""},
	{"examples/decision-table/claims/README.md", "", "examples.TestDecisionTable", ""},
	{"examples/decision-table/jwt-in-key-out/README.md", "", "examples.TestDecisionTable", ""},
	{"examples/decision-table/m2m-callers/README.md", "", "examples.TestDecisionTable", ""},
	{"examples/decision-table/minted-jwt/README.md", "", "examples.TestDecisionTable", ""},
	{"examples/decision-table/oauth2-upstream/README.md", "", "examples.TestDecisionTable", ""},
	{"examples/decision-table/service-to-service/README.md", "", "examples.TestDecisionTable", ""},
	{"examples/decision-table/vendor-key/README.md", "", "examples.TestDecisionTable", ""},
	{"examples/jwt-callers/README.md", "go build", "examples.TestJWTCallers", ""},
	{"examples/jwt-callers/README.md", "curl -i -H", "examples.TestJWTCallers", ""},
	{"examples/jwt-callers/README.md", "TOKEN=$(curl", "", "Auth0, Okta, Cognito, Entra ID and Keycloak are not here; the tests' issuers give tokens like theirs"},
	{"examples/jwt-callers/README.md", "account=", "", "gcloud and Google are not here"},
	{"examples/jwt-callers/README.md", "jq -n --arg a", "", "gcloud and Google are not here"},
	{"examples/jwt-callers/README.md", "gh api", "", "gh and GitHub are not here"},
	{"examples/jwt-callers/README.md", "kubectl", "", "kubectl and a cluster are not here"},
	{"examples/jwt-callers/README.md", "TOKEN=$(spire-agent", "", "SPIRE is not here"},
	{"examples/jwt-callers/README.md", "spire-agent", "", "SPIRE is not here"},
}

// TestPagesShell holds every block of shell on every page to shellBlocks: a new one that
// nothing runs fails, and so does a line that is about no block or names no test.
func TestPagesShell(t *testing.T) {
	used := make([]bool, len(shellBlocks))
	count := 0
	for file, page := range rrtest.Pages(t, "..") {
		for _, b := range rrtest.Blocks(file, page) {
			if b.Language != "sh" && b.Language != "console" {
				continue
			}
			count++
			i := slices.IndexFunc(shellBlocks, func(s struct{ file, begins, by, why string }) bool {
				return s.file == b.File && strings.HasPrefix(b.Text, s.begins)
			})
			if i < 0 {
				t.Errorf("%s:%d: nothing runs this:\n%s", b.File, b.Line, b.Text)
				continue
			}
			used[i] = true
			text := b.Text
			if b.Language == "console" {
				text = ""
				for _, c := range commandsOf(b.Text) {
					text += c.line + "\n"
				}
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-n")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v: %s", b.File, b.Line, err, out)
			}
		}
	}
	for i, s := range shellBlocks {
		folder, name, named := strings.Cut(s.by, ".")
		switch {
		case !used[i]:
			t.Errorf("%s has no block that begins with %q", s.file, s.begins)
		case (s.by == "") == (s.why == ""):
			t.Errorf("%s: say what runs it, or why nothing does", s.file)
		case named && !hasTest(t, filepath.Join("..", folder), name):
			t.Errorf("%s: there is no %s", s.file, s.by)
		}
	}
	if count < 110 {
		t.Errorf("only %d blocks found", count)
	}
}

// hasTest reports whether a folder has a test of this name, or several that begin so.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`(?m)^func ` + name + `\w*\(t \*testing\.T\)`).Match(text)
	})
}

// shown is a command of a block, and what the page shows of its output.
type shown struct{ line, output string }

// commandsOf are the commands behind the prompts of a block.
func commandsOf(text string) (list []shown) {
	continued := false
	for line := range strings.Lines(text) {
		switch command, prompt := strings.CutPrefix(line, "$ "); {
		case continued:
			list[len(list)-1].line += line
		case prompt:
			list = append(list, shown{line: command})
			line = command
		case len(list) > 0:
			list[len(list)-1].output += line
			continue
		}
		continued = strings.HasSuffix(line, "\\\n")
	}
	return list
}

// workshop is a gateway, and a folder in which commands of pages are run against it.
type workshop struct {
	*daemon
	upstream *rrtest.Upstream
	folder   string
	learned  map[string]string // what pages show, and what it is here
}

// newWorkshop starts a gateway. In its configuration names stand as in daemonConfig.
func newWorkshop(t *testing.T, config string, env ...string) *workshop {
	t.Helper()
	for _, program := range []string{"curl", "jq", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("RR_REQUIRE_EXTERNAL") == "1" {
				t.Fatalf("%s is needed: %v", program, err)
			}
			t.Skipf("not here: %s", program)
		}
	}
	w := &workshop{upstream: rrtest.NewUpstream(t), learned: map[string]string{}}
	w.daemon = prepareDaemon(t, "")
	w.config = config
	w.folder = filepath.Join(w.dir, "work")
	for _, folder := range []string{"work", "secrets", "backups", "bin"} {
		if err := os.Mkdir(filepath.Join(w.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(w.path, filepath.Join(w.dir, "bin", "caddy")); err != nil {
		t.Fatal(err)
	}
	real, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal(err)
	}
	curl := "#!/bin/sh\nexec " + real + " -sS --fail --max-time 20 --noproxy '*' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(w.dir, "bin", "curl"), []byte(curl), 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = append(append(w.env, "PATH="+filepath.Join(w.dir, "bin")+":"+os.Getenv("PATH")), env...)
	w.start()
	w.env = append(w.env, "CADDY_ADMIN="+strings.TrimPrefix(w.admin, "http://"))
	return w
}

// file makes a file of the workshop; secrets/ and the like are beside its folder.
func (w *workshop) file(path, content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.folder, path), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// here puts this machine's addresses and paths in the place of those that pages have.
func (w *workshop) here(text string) string {
	for shown, is := range w.learned {
		text = strings.ReplaceAll(text, shown, is)
	}
	return strings.NewReplacer(
		"https://gateway.example.com", w.gate, "https://gw.example.com", w.gate, "http://localhost:8080", w.gate,
		"https://api.stripe.com", w.upstream.URL, "--host api.stripe.com", "--host "+w.upstream.URL,
		"unix//run/caddy/admin.sock", strings.TrimPrefix(w.admin, "http://"),
		"localhost:2019", strings.TrimPrefix(w.admin, "http://"),
		"/etc/caddy/Caddyfile", filepath.Join(w.dir, "Caddyfile"),
		"/run/secrets/", filepath.Join(w.dir, "secrets")+"/",
		"/var/backups/", filepath.Join(w.dir, "backups")+"/",
	).Replace(text)
}

var setsVariable = regexp.MustCompile(`(?m)^([A-Z]+)=\$\(`)

// run runs shell in the workshop and returns what it prints. Variables that it sets are there
// for later shells.
func (w *workshop) run(script string) (string, error) {
	w.t.Helper()
	script = "if [ -f ../variables ]; then . ../variables; fi\n" + script
	if m := setsVariable.FindStringSubmatch(script); m != nil {
		script += "\nprintf \"%s='%s'\\n\" " + m[1] + " \"$" + m[1] + "\" >> ../variables"
	}
	cmd := exec.CommandContext(w.t.Context(), "sh", "-ec", w.here(script))
	cmd.Dir, cmd.Env = w.folder, w.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is run for what has to succeed.
func (w *workshop) must(script string) string {
	w.t.Helper()
	out, err := w.run(script)
	if err != nil {
		w.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

// block is the block of a page that begins like this.
func block(t *testing.T, file, begins string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range rrtest.Blocks(file, string(page)) {
		if strings.HasPrefix(b.Text, begins) {
			return b.Text
		}
	}
	t.Fatalf("%s has no block that begins with %q", file, begins)
	return ""
}

var (
	anID    = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	anEnd   = regexp.MustCompile(`\b\d+:[0-9a-f]{4,64}…?`)
	varying = []struct {
		what *regexp.Regexp
		as   string
	}{
		{regexp.MustCompile(`(?m)^\{"level":.*\n`), ""}, // Caddy's log
		{regexp.MustCompile(`(https?://)?(api\.stripe\.com|127\.0\.0\.1:\d+)(:443)?`), "<address>"},
		{anID, "<id>"}, {anEnd, "<end>"},
		{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?`), "<time>"},
		{regexp.MustCompile(`rr_live_[\w-]+`), "<key>"},
		{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "<hash>"},
		{regexp.MustCompile(`\d+ ms`), "<ms>"},
		{regexp.MustCompile(`[ \t]+`), " "}, {regexp.MustCompile(`(?m) $`), ""},
		{regexp.MustCompile(`\d+ (records|entries)`), "<n> $1"},
	}
)

// alike compares what a page shows with what came. Times, ids and the like may differ; …
// stands for anything.
func alike(shown, came string) error {
	for _, v := range varying {
		shown, came = v.what.ReplaceAllString(shown, v.as), v.what.ReplaceAllString(came, v.as)
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(shown)), "…", `[^\n]*`)
	if !regexp.MustCompile(`^` + pattern + `$`).MatchString(strings.TrimSpace(came)) {
		return fmt.Errorf("the page shows\n%s\nand it prints\n%s", shown, came)
	}
	return nil
}

// learn keeps what stands in the place of a page's ids.
func (w *workshop) learn(shown, came string) {
	for _, what := range []*regexp.Regexp{anID, anEnd} {
		is := what.FindAllString(came, -1)
		for i, s := range what.FindAllString(shown, -1) {
			if i < len(is) {
				w.learned[s] = is[i]
			}
		}
	}
}
