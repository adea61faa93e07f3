package logsafe

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-rr/caddy-rr/internal/redact"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// caddyWithLogs is a Caddy that logs all it can: requests, headers with credentials,
// handlers with their configuration, at level debug; GLOBAL and SITE are log formats.
const caddyWithLogs = `{
	admin off
	persist_config off
	auto_https off
	grace_period 2s
	storage file_system DIR/storage
	log {
		level DEBUG
		output file DIR/global.log
		GLOBAL
	}
	servers {
		log_credentials
		trace
	}
}

http://ADDR {
	log {
		level DEBUG
		output file DIR/site.log
		SITE
	}
	log_append seen {header.X-Unknown}
	handle /down {
		reverse_proxy 127.0.0.1:1 {
			header_up X-Vendor-Token c4n4ry-vendor-key
		}
	}
	handle /rewritten {
		rewrite * /v2?{query}&hapikey=c4n4ry-rewritten
		reverse_proxy UPSTREAM
	}
	handle /error {
		error "refused https://x/?access_token=c4n4ry-in-error" 502
	}
	handle {
		reverse_proxy UPSTREAM {
			header_up X-Vendor-Token c4n4ry-vendor-key
		}
	}
	handle_errors {
		reverse_proxy UPSTREAM
	}
}
`

func adaptText(t testing.TB, text string) ([]byte, error) {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	return adapted, err
}

// runConfig runs Caddy until the end of the test.
func runConfig(t testing.TB, config []byte) {
	t.Helper()
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
}

// runWithLogs sends requests full of canaries through a Caddy that logs in these formats,
// and returns its logs.
func runWithLogs(t *testing.T, global, site string) (logs map[string]string) {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "sid=c4n4ry-set")
		w.Header().Set("X-Vendor-Token", "c4n4ry-answer")
		w.Header().Set("Location", "https://x/?access_token=c4n4ry-location")
	}))
	t.Cleanup(upstream.Close)
	addr := rrtest.Addr(rrtest.FreePort(t))
	dir := t.TempDir()
	config, err := adaptText(t, strings.NewReplacer("ADDR", addr, "UPSTREAM", strings.TrimPrefix(upstream.URL, "http://"),
		"DIR", dir, "GLOBAL", global, "SITE", site).Replace(caddyWithLogs))
	if err != nil {
		t.Fatal(err)
	}
	runConfig(t, config)
	paths := []string{"/ok", "/down", "/rewritten", "/error"}
	for _, path := range paths {
		ask(t, "http://"+addr+path)
	}
	return readLogs(t, dir, len(paths))
}

func ask(t testing.TB, url string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url+"?a=b&access_token=c4n4ry-query&acces%73_token=c4n4ry-enc", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"X-Api-Key": "c4n4ry-api-key", "Authorization": "Bearer c4n4ry-bearer", "Proxy-Authorization": "Basic c4n4ry",
		"Cookie": "theme=dark; sid=c4n4ry-cookie", "X-Vendor-Token": "c4n4ry-from-caller",
		"Referer": "https://app/?hapikey=c4n4ry-referer", "X-Unknown": "c4n4ry-by-value-only",
	} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// readLogs reads the logs when they have an access log entry of each request.
func readLogs(t *testing.T, dir string, requests int) map[string]string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		logs := make(map[string]string)
		for _, name := range []string{"global", "site"} {
			text, err := os.ReadFile(filepath.Join(dir, name+".log"))
			if err != nil {
				t.Fatal(err)
			}
			logs[name] = string(text)
		}
		if strings.Count(logs["site"], "http.log.access.log0") >= requests {
			return logs
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no access log entry of each request: %s", logs["site"])
		}
	}
}

func TestNoCanaryInAnyLogOfCaddyWithTheEncoder(t *testing.T) {
	defer redact.Default().Add(redact.Header, "X-Vendor-Token")()
	defer redact.Default().Add(redact.Query, "hapikey")()
	for _, secret := range []string{"c4n4ry-by-value-only", "c4n4ry-api-key"} {
		release, held := redact.Default().AddSecret(secret)
		if !held {
			t.Fatalf("%s is not held", secret)
		}
		defer release()
	}
	for name, format := range map[string]string{
		"rr":                    "format rr",
		"rr console":            "format rr console",
		"rr json with options":  "format rr json {\n time_format wall\n}",
		"rr around filter":      "format rr filter {\n request>headers>User-Agent delete\n}",
		"filter around rr":      "format filter {\n wrap rr\n request>headers>User-Agent delete\n}",
		"append around console": "format append {\n wrap rr console\n node 7\n}",
	} {
		t.Run(name, func(t *testing.T) {
			logs := runWithLogs(t, format, format)
			for file, text := range logs {
				for line := range strings.Lines(text) {
					if strings.Contains(line, canary) {
						t.Errorf("%s.log: %s", file, line)
					}
				}
			}
			for _, want := range []string{"upstream roundtrip", "rewrote request", "http.log.error", "http.log.trace"} {
				if !strings.Contains(logs["global"], want) {
					t.Errorf("global.log has no %q: %s", want, logs["global"])
				}
			}
			if !regexp.MustCompile(`"seen": ?"REDACTED"`).MatchString(logs["site"]) {
				t.Error("the appended field is missing or not hidden")
			}
			for _, want := range []string{"a=b&access_token=REDACTED", "app/?hapikey=REDACTED"} {
				if !strings.Contains(logs["site"], want) {
					t.Errorf("site.log has no %q: %s", want, logs["site"])
				}
			}
			if strings.Contains(name, "filter") && strings.Contains(logs["site"], "Go-http-client") {
				t.Error("the filter does not work any more")
			}
		})
	}
}

func TestTheSameLogsHaveCanariesWithoutTheEncoder(t *testing.T) {
	logs := runWithLogs(t, "format json", "format json")
	for _, leak := range []string{"c4n4ry-api-key", "c4n4ry-bearer", "c4n4ry-query", "c4n4ry-by-value-only"} {
		if !strings.Contains(logs["site"], leak) {
			t.Errorf("site.log does not have %s: the test above proves nothing", leak)
		}
	}
	for _, leak := range []string{"c4n4ry-vendor-key", "c4n4ry-rewritten", "c4n4ry-answer", "c4n4ry-in-error"} {
		if !strings.Contains(logs["global"], leak) {
			t.Errorf("global.log does not have %s: the test above proves nothing", leak)
		}
	}
}

func TestUnsafeLoggers(t *testing.T) {
	const siteLog = "log {\n output file DIR/site.log\n FORMAT\n}"
	for name, c := range map[string]struct {
		global, site string
		want         []string
	}{
		"no log options: errors go to the default log":  {"", "", []string{"http.log.error"}},
		"a default log with rr":                         {"log {\n format rr\n}", "", nil},
		"a default log with rr at level debug":          {"log {\n level DEBUG\n format rr console\n}", "", nil},
		"a default log with json at level debug":        {"log {\n level DEBUG\n format json\n}", "", []string{"http.handlers", "http.log.error"}},
		"rr for the site only: the rest leaks still":    {"", strings.Replace(siteLog, "FORMAT", "format rr", 1), []string{"http.log.access", "http.log.error", "http.log.error.log0"}},
		"a site for all other hosts without access log": {"", strings.Replace(siteLog, "FORMAT", "format rr", 1) + "\nrespond ok\n}\nhttp://:PORT {\n", []string{"http.log.error", "http.log.error.log0"}},
		"rr for all but the site":                       {"log {\n format rr\n}", strings.Replace(siteLog, "FORMAT", "format json", 1), []string{"http.log.access.log0"}},
		"rr for everything":                             {"log {\n format rr\n}", strings.Replace(siteLog, "FORMAT", "format rr", 1), nil},
		"access logs of the site to the default log":    {"log {\n format json\n}", "log", []string{"http.log.access", "http.log.error"}},
		"rr inside a filter":                            {"log {\n format filter {\n wrap rr\n}\n}", "log", nil},
		"rr inside an append inside a filter":           {"log {\n format filter {\n wrap append {\n wrap rr\n a b\n}\n}\n}", "log", nil},
		"a filter without rr":                           {"log {\n format filter {\n wrap json\n}\n}", "log", []string{"http.log.access", "http.log.error"}},
		"a log that is discarded":                       {"log {\n output discard\n}", "log", nil},
		"a log without requests":                        {"log {\n exclude http\n}", "log", nil},
		"a second log for something else":               {"log {\n format rr\n}\nlog admin {\n include admin\n format json\n}", "log", nil},
		"a second log for everything":                   {"log {\n format rr\n}\nlog all {\n output file DIR/all.log\n format json\n}", "log", []string{"http.log.access", "http.log.error"}},
		"trace":                                         {"log {\n level DEBUG\n format json\n}\nservers {\n trace\n}", "log", []string{"http.handlers", "http.log.access", "http.log.error", "http.log.trace"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.ReplaceAll(fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\nstorage file_system DIR\n%s\n}\nhttp://127.0.0.1:PORT {\n%s\nrespond ok\n}\n", c.global, c.site), "DIR", t.TempDir())
			text = strings.ReplaceAll(text, "PORT", strings.TrimPrefix(rrtest.Addr(rrtest.FreePort(t)), "127.0.0.1:"))
			adapted, err := adaptText(t, text)
			if err != nil {
				t.Fatal(err)
			}
			if got := unsafeIn(t, adapted); !slices.Equal(got, c.want) {
				t.Errorf("UnsafeLoggers = %q, want %q", got, c.want)
			}
		})
	}
}

// unsafeIn runs a configuration and judges its server.
func unsafeIn(t *testing.T, config []byte) []string {
	t.Helper()
	runConfig(t, config)
	ctx := caddy.ActiveContext()
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		t.Fatal(err)
	}
	servers := slices.Collect(maps.Values(app.(*caddyhttp.App).Servers))
	if len(servers) != 1 {
		t.Fatalf("%d servers", len(servers))
	}
	return UnsafeLoggers(ctx, servers[0])
}

func TestEncoderInTheCaddyfile(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"alone":              {"rr", `{}`},
		"with an encoder":    {"rr console", `{"wrap":{"format":"console"}}`},
		"with its options":   {"rr json {\n time_format wall\n}", `{"wrap":{"format":"json","time_format":"wall"}}`},
		"with wrap":          {"rr {\n wrap console {\n level_format upper\n}\n}", `{"wrap":{"format":"console","level_format":"upper"}}`},
		"an unknown encoder": {"rr xml", `rr log encoder: there is no log encoder "xml"; known are: append, console, filter, journald, json, at Caddyfile:1`},
		"an unknown option":  {"rr {\n warp json\n}", `rr log encoder: unrecognized option "warp"; there is: wrap, at Caddyfile:2`},
		"wrap twice":         {"rr {\n wrap json\n wrap json\n}", `rr log encoder: wrap is given twice, at Caddyfile:3`},
		"wrap of nothing":    {"rr {\n wrap\n}", `rr log encoder: wrap needs the name of an encoder, such as json or console, at Caddyfile:2`},
		"a filter by name":   {"rr filter.delete", `rr log encoder: caddy.logging.encoders.filter.delete is a *logging.DeleteFilter, not a log encoder, at Caddyfile:1`},
	} {
		var l LogEncoder
		got := ""
		if err := l.UnmarshalCaddyfile(caddyfile.NewTestDispenser(c.in)); err != nil {
			got = strings.ReplaceAll(err.Error(), "Testfile", "Caddyfile")
		} else {
			got = string(caddyconfig.JSON(l, nil))
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestEncoderRefusesToWrapWhatIsNoEncoder(t *testing.T) {
	config := `{"admin":{"disabled":true},"logging":{"logs":{"x":{"encoder":{"format":"rr","wrap":{"format":"filter.delete"}}}}}}`
	var parsed *caddy.Config
	if err := caddy.StrictUnmarshalJSON([]byte(config), &parsed); err != nil {
		t.Fatal(err)
	}
	_, err := caddy.ProvisionContext(parsed)
	if err == nil || !strings.Contains(err.Error(), `wrap is not a log encoder; say {"format": "json"} or "console"`) {
		t.Errorf("the error is %v", err)
	}
}
