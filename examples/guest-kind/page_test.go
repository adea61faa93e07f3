package guestkind

import (
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestThePage runs what README.md shows: its Caddyfile, with an upstream of the test's, and
// the call.
func TestThePage(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```(\\w+)[^\n]*\n(.*?)^```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 3 || blocks[0][1] != "caddyfile" || blocks[1][1] != "sh" {
		t.Fatalf("the page has other blocks: %q", blocks)
	}
	vendorKey := newKey(t)
	up := newUpstream(t, "app-1", vendorKey)
	t.Setenv("ROBOTS_KEY", newKey(t))
	t.Setenv("ARCHIVE_KEY", vendorKey)
	options, site, _ := strings.Cut(strings.TrimPrefix(blocks[0][2], "{\n"), "\n}\n\narchive.internal {\n")
	site = strings.TrimSuffix(site, "}\n")
	options = strings.NewReplacer("https://archive.example.com", "http://UPSTREAM", "hosts archive.example.com", "hosts http://UPSTREAM").Replace(options)
	g := start(t, options, site, up)

	call := strings.NewReplacer("curl ", "curl -sS --max-time 20 --noproxy '*' -o /dev/null -w '%{http_code}' ", "https://archive.internal", "http://"+g.addr).Replace(blocks[1][2])
	out, err := exec.CommandContext(t.Context(), "sh", "-ec", call).CombinedOutput()
	if err != nil || string(out) != "200" {
		t.Errorf("the call: %s, %v", out, err)
	}
	g.want(http.StatusUnauthorized, "proxy-access-denied", "GET", "/v1/things", http.Header{"X-Signature": {"robot-7:1:00"}})
}
