// Package examples runs the examples as their pages say.
package examples

import (
	"bytes"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	_ "github.com/caddy-rr/caddy-rr"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/fakeopenai"
)

// TestCaddyfilesAreFormattedAndHaveAPage has each also say which store it uses, if any: whoever
// tries one has made something in Caddy's own, and what is there could have the same name.
func TestCaddyfilesAreFormattedAndHaveAPage(t *testing.T) {
	files, err := filepath.Glob("*/*addyfile")
	deeper, err2 := filepath.Glob(decisionTable + "/*/*addyfile")
	if err != nil || err2 != nil || len(files) < 7 || len(deeper) < 7 {
		t.Fatalf("found %v, %v, %v, %v", files, deeper, err, err2)
	}
	files = append(files, deeper...)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, caddyfile.Format(text)) {
			t.Errorf("%s: `caddy fmt` would change it", file)
		}
		if bytes.Contains(text, []byte("persist_config off")) && bytes.Contains(text, []byte("\trr {\n")) && !bytes.Contains(text, []byte("\t\tstore ")) {
			t.Errorf("%s does not say `store`", file)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), "README.md")); err != nil {
			t.Error(err)
		}
	}
}

// TestPages makes the calls of each page, with the stand-in vendor that the example
// brings. What the vendor gets passes a recorder: no caller's credential is in it.
func TestPages(t *testing.T) {
	for _, ex := range []struct {
		folder string
		// vendors are the variables with the ports of the targets and of their stand-ins.
		vendors map[string]string
		// upstream is what only upstreams may see, callers what only the gateway may.
		upstream, callers []string
	}{
		{"inline", map[string]string{"LEGACY_PORT": "STANDIN_PORT"}, []string{"LEGACY_PASSWORD"}, []string{"REPORTS_KEY"}},
		{"basic-upstream", map[string]string{"ARCHIVE_PORT": "STANDIN_PORT"}, []string{"ARCHIVE_PASSWORD"}, []string{"SCRIPT_KEY"}},
		{"query-key", map[string]string{"WEATHER_PORT": "STANDIN_PORT"}, []string{"WEATHER_KEY"}, []string{"DASHBOARD_KEY"}},
		{"agents", map[string]string{
			"PAYMENTS_PORT": "PAYMENTS_STANDIN_PORT", "SEARCH_PORT": "SEARCH_STANDIN_PORT", "TICKETS_PORT": "TICKETS_STANDIN_PORT",
		}, []string{"PAYMENTS_KEY", "SEARCH_KEY", "TICKETS_PASSWORD"}, []string{"RESEARCH_AGENT_KEY", "BILLING_AGENT_KEY"}},
	} {
		t.Run(ex.folder, func(t *testing.T) {
			env := environment(t, ex.folder)
			var recorders []*rrtest.Upstream
			for target, standIn := range ex.vendors {
				recorders = append(recorders, record(t, target, standIn))
			}
			gateway := gatewayPort(t)
			caddy := rrtest.StartFile(t, filepath.Join(ex.folder, "Caddyfile"))

			forwarded := 0
			for _, c := range calls(t, ex.folder, gateway) {
				c.run(t)
				if c.status == http.StatusOK {
					forwarded++
				}
			}
			reached := 0
			for _, r := range recorders {
				for _, got := range r.Received() {
					reached++
					for _, name := range ex.callers {
						if got.Contains(env[name]) {
							t.Errorf("the vendor got the caller's %s: %+v", name, got)
						}
					}
				}
			}
			if forwarded == 0 || reached != forwarded {
				t.Errorf("%d calls reached a vendor, %d were allowed", reached, forwarded)
			}
			for _, name := range append(ex.upstream, ex.callers...) {
				if strings.Contains(caddy.Logs(), env[name]) {
					t.Errorf("%s is in the log", name)
				}
			}
		})
	}
}

// record puts a recorder between the target's port and the stand-in's.
func record(t *testing.T, targetVar, standInVar string) *rrtest.Upstream {
	t.Helper()
	standIn := rrtest.FreePort(t)
	t.Setenv(standInVar, strconv.Itoa(standIn))
	u := rrtest.NewUpstream(t)
	base, err := url.Parse("http://" + rrtest.Addr(standIn))
	if err != nil {
		t.Fatal(err)
	}
	u.Handle("", &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(base) },
		Transport: rrtest.HTTP1(t, nil).Transport,
	})
	t.Setenv(targetVar, u.Addr[strings.LastIndexByte(u.Addr, ':')+1:])
	return u
}

// environment sets what a folder's example.env says, and returns it.
func environment(t *testing.T, folder string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "example.env"))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)='(.*)'$`).FindAllStringSubmatch(string(text), -1) {
		env[m[1]] = m[2]
		t.Setenv(m[1], m[2])
	}
	if len(env) == 0 {
		t.Fatalf("%s/example.env says nothing", folder)
	}
	return env
}

func gatewayPort(t *testing.T) int {
	port := rrtest.FreePort(t)
	t.Setenv("RR_PORT", strconv.Itoa(port))
	return port
}

// call is a line of a page: a curl command and the status that it says.
type call struct {
	setup, command string
	status         int
}

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	statusLine = regexp.MustCompile(`(?m)^HTTP/1\.1 (\d{3}) `)
	curlLine   = regexp.MustCompile(`^(curl -i .*?)\s+# ([1-5]\d\d)`)
)

// calls returns the curl lines of a folder's page. The other lines of the same block go
// before each of them.
func calls(t *testing.T, folder string, port int) []call {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var list []call
	for _, block := range shellBlock.FindAllStringSubmatch(string(page), -1) {
		var setup strings.Builder
		text := strings.ReplaceAll(block[1], "127.0.0.1:8080", rrtest.Addr(port))
		for line := range strings.Lines(text) {
			m := curlLine.FindStringSubmatch(line)
			switch {
			case m != nil:
				status, _ := strconv.Atoi(m[2]) // three digits
				list = append(list, call{setup.String(), m[1], status})
			case strings.HasPrefix(line, "curl"):
				t.Errorf("%s/README.md: a call without its status: %s", folder, line)
			default:
				setup.WriteString(line)
			}
		}
	}
	if len(list) < 3 {
		t.Fatalf("%s/README.md has %d calls", folder, len(list))
	}
	return list
}

// run makes the call in a shell at the top of the repository.
func (c call) run(t *testing.T) {
	t.Helper()
	out, err := shell(t, "..", "set -e\n"+c.setup+c.command+" -sS --max-time 10 --noproxy '*'").CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", c.command, err, out)
	}
	statuses := statusLine.FindAllSubmatch(out, -1) // 100 Continue can come first
	if n := len(statuses); n == 0 || string(statuses[n-1][1]) != strconv.Itoa(c.status) {
		t.Errorf("%s\ngot:\n%s\nwant %d", c.command, out, c.status)
	}
}

func shell(t *testing.T, dir, script string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir, cmd.WaitDelay = dir, 5*time.Second
	return cmd
}

// TestQuickstart has the script build, start, call and stop, as `make run` does.
func TestQuickstart(t *testing.T) {
	gatewayPort(t)
	t.Setenv("STRIPE_PORT", strconv.Itoa(rrtest.FreePort(t)))
	out, err := exec.CommandContext(t.Context(), "sh", "quickstart/run.sh", "--check").CombinedOutput()
	if want := readText(t, "quickstart/expected.txt"); err != nil || !strings.HasSuffix(string(out), want) {
		t.Fatalf("%v\n%s\nexpected.txt says\n%s", err, out, want)
	}
}

// TestStripe runs the tests of the nested module: Stripe's own SDK through the gateway.
func TestStripe(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "./...")
	cmd.Dir = "stripe"
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestStripeSDK") {
		t.Fatal(err)
	}
}

// TestLLM runs the tests that call through the gateway with the official npm package.
func TestLLM(t *testing.T) {
	needs(t, "node", "npm")
	env := environment(t, "llm")
	vendor := rrtest.NewUpstream(t)
	vendor.Handle("", fakeopenai.New(env["OPENAI_VENDOR_KEY"], 100*time.Millisecond))
	t.Setenv("OPENAI_PORT", vendor.Addr[strings.LastIndexByte(vendor.Addr, ':')+1:])
	t.Setenv("GATEWAY", "http://"+rrtest.Addr(gatewayPort(t)))
	caddy := rrtest.StartFile(t, "llm/Caddyfile")

	page := shellBlock.FindAllStringSubmatch(readText(t, "llm/README.md"), -1)
	stream := strings.ReplaceAll(page[1][1], "http://127.0.0.1:8080", os.Getenv("GATEWAY"))
	out, err := shell(t, "..", stream).Output()
	if want := readText(t, "llm/expected.txt"); err != nil || string(out) != want {
		t.Errorf("%s\nprints %v\n%s\nexpected.txt says\n%s", stream, err, out, want)
	}

	if out, err := shell(t, "llm", "npm ci --no-audit --no-fund --prefer-offline && npm test").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, got := range vendor.Received() {
		if got.Contains(env["APP_KEY"]) {
			t.Errorf("the vendor got the caller's key: %+v", got)
		}
	}
	if n := len(vendor.Received()); n != 7 {
		t.Errorf("%d calls reached the vendor, want 7: three refusals stay with the gateway", n)
	}
	for _, name := range []string{"APP_KEY", "OPENAI_VENDOR_KEY"} {
		if strings.Contains(caddy.Logs(), env[name]) {
			t.Errorf("%s is in the log", name)
		}
	}
}

// needs skips the test if a program is not installed, or fails it if RR_REQUIRE_EXTERNAL
// says that everything has to be there.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		} else if os.Getenv("RR_REQUIRE_EXTERNAL") == "1" {
			t.Fatalf("%s is needed: %v", p, err)
		}
		t.Skipf("%s is not installed; with RR_REQUIRE_EXTERNAL=1 this fails", p)
	}
}
