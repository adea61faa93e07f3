package cli

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestCompletion asks as shells do.
func TestCompletion(t *testing.T) {
	f := newFakeAPI()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	x := &script{t: t, api: f, now: time.Now()}
	address := []string{"--address", server.Listener.Addr().String()}
	for _, line := range []string{
		"clients create --name Acme --id acme", "credentials create --type target --kind none --name stripe", "credentials create --type target --kind none --name slack",
		"targets create --name stripe --base-url https://a.example", "proxies create --name pay --target stripe",
	} {
		if _, errs, err := x.run(append(words(line), address...)); err != nil {
			t.Fatal(errs)
		}
	}
	for _, c := range []struct{ line, want string }{
		{"credentials get s", "stripe slack"},
		{"credentials get st", "stripe"},
		{"credentials delete stripe s", "slack"},
		{"credentials get stripe s", ""},
		{"credentials rotate sl", "slack"},
		{"authorize sl", "slack"},
		{"test p", "pay"},
		{"proxies create --target s", "stripe"},
		{"proxies create --credential x", ""},
		{"targets list --client a", "acme"},
		{"audit --client a", "acme"},
		{"rules list --proxy p", "pay"},
		{"audit --resource ", "credentials targets proxies rules clients blocklist store"},
		{"credentials create --type ", "proxy target"},
		{"targets create --default ", "allow deny"},
		{"targets create ", ""},
		{"credentials list --name ", ""},
	} {
		t.Run(c.line, func(t *testing.T) {
			line, begun := c.line[:strings.LastIndex(c.line, " ")], c.line[strings.LastIndex(c.line, " ")+1:]
			args := words(line)
			verb := args[:min(2, len(args))]
			if verb[0] == "authorize" || verb[0] == "test" || verb[0] == "audit" {
				verb = args[:1]
			}
			args = append(append(append([]string{}, verb...), address...), args[len(verb):]...)
			if got := x.complete(t, append(args, begun)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := x.complete(t, []string{"credentials", "get", "--address", "127.0.0.1:1", "s"}); got != "" {
		t.Errorf("without an API there is %q", got)
	}
}

// complete is what a shell is offered.
func (x *script) complete(t *testing.T, args []string) string {
	t.Helper()
	stdout, _, err := x.runAs("__complete", args)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	return strings.Join(lines[:len(lines)-1], " ") // the last one is for the shell
}
