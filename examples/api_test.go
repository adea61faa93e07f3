package examples

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// TestAPI runs the script of examples/api as its page says, makes the page's calls, deletes
// what was made, and makes it again. What the vendors get passes a recorder.
func TestAPI(t *testing.T) {
	needs(t, "curl")
	env := environment(t, "api")
	recorder := record(t, "VENDOR_PORT", "STANDIN_PORT")
	folder := t.TempDir()
	t.Setenv("RR_STORE", filepath.Join(folder, "records", "rr.db"))
	gateway := gatewayPort(t)
	caddy := rrtest.StartFile(t, "api/Caddyfile")

	script := func(arguments string) string {
		t.Helper()
		out, err := shell(t, "..", "exec 2>&1; examples/api/calls.sh "+arguments).Output()
		if err != nil {
			t.Fatalf("calls.sh %s: %v\n%s", arguments, err, out)
		}
		return string(out)
	}
	page := readText(t, "api/README.md")
	_, want, _ := strings.Cut(page, "```text\n")
	want, _, _ = strings.Cut(want, "```")
	for range 2 {
		if got := uuids.ReplaceAllString(script(""), "<id>"); got != want {
			t.Errorf("the script prints\n%s\nthe page says\n%s", got, want)
		}
		for _, c := range calls(t, "api", gateway) {
			c.run(t)
		}
		script("--delete")
	}
	c := call{". examples/api/example.env\n", `curl -i -H "Authorization: $OPERATOR_KEY" http://` + rrtest.Addr(gateway) + "/manage/clients/default/proxies", http.StatusOK}
	c.run(t)

	forwarded := 0
	for _, r := range recorder.Received() {
		for _, name := range []string{"OPERATOR_KEY", "CALLER_TOKEN", "OTHER_TOKEN"} {
			if r.Contains(env[name]) {
				t.Errorf("a vendor got %s: %+v", name, r)
			}
		}
		if !strings.HasPrefix(r.URI, "/issuer/") {
			forwarded++
		}
	}
	if allowed := 2 * (strings.Count(want, "\n200 ") + 1); forwarded != allowed {
		t.Errorf("%d calls reached a vendor, %d were allowed", forwarded, allowed)
	}
	secrets := []string{"OPERATOR_KEY", "CALLER_TOKEN", "OTHER_TOKEN", "STRIPE_KEY", "CLEARBIT_KEY"}
	logs := configurations.ReplaceAllString(caddy.Logs(), "") // which have what the stand-ins answer
	for _, name := range secrets {
		if strings.Contains(logs, env[name]) {
			t.Errorf("%s is in the log", name)
		}
	}
	files := 0
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		for _, name := range append(secrets, "ANALYTICS_KEY") {
			if strings.Contains(string(content), env[name][:16]) {
				t.Errorf("%s is in %s", name, path)
			}
		}
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("%d files in the store's folder, %v", files, err)
	}
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
