package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// binary builds Caddy with rr, once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("rr-test-caddy-%d", os.Getpid()))
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../cmd/caddy").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("rr-test-caddy-%d", os.Getpid())))
	os.Exit(code)
}

// process is a Caddy binary with a home of its own.
type process struct {
	t    *testing.T
	dir  string
	env  []string
	path string
}

func newProcess(t *testing.T, caddyfile string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	return &process{t: t, dir: dir, path: path, env: append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir+"/config", "XDG_DATA_HOME="+dir+"/data",
		"RR_CALLER="+callerKey, "RR_OTHER="+otherKey, "RR_VENDOR="+vendorKey)}
}

// run runs a command to its end and returns its outputs and whether it succeeded.
func (p *process) run(stdin string, args ...string) (stdout, stderr string, ok bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = p.dir, p.env, strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	return out.String(), errs.String(), err == nil
}

// TestTheBinary runs the commands that people run.
func TestTheBinary(t *testing.T) {
	u := rrtest.NewUpstream(t)
	port, admin := rrtest.FreePort(t), rrtest.FreePort(t)
	config := strings.NewReplacer("GATEPORT", fmt.Sprint(port), "UPSTREAM", u.Addr).Replace(
		strings.Replace(oneProxy, "{\n", fmt.Sprintf("{\n\tadmin 127.0.0.1:%d\n\tdefault_bind 127.0.0.1\n", admin), 1))
	p := newProcess(t, config)
	var log bytes.Buffer
	server := exec.Command(p.path, "run")
	server.Dir, server.Env, server.Stderr = p.dir, p.env, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = server.Wait(); close(ended) }()
	defer func() {
		_ = server.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("the server does not end")
			_ = server.Process.Kill()
		}
	}()
	url := "http://" + rrtest.Addr(port) + "/v1/x"
	rrtest.Eventually(t, "the server answers", func() bool {
		res, err := http.Get(url)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode == http.StatusUnauthorized
	})

	t.Run("validate while the server runs touches nothing", func(t *testing.T) {
		// the server writes these by itself as it starts
		rrtest.Eventually(t, "the server has written its own files", func() bool {
			for _, name := range []string{"instance.uuid", "last_clean.json"} {
				if text, err := os.ReadFile(filepath.Join(p.dir, "data/caddy", name)); err != nil || len(text) == 0 {
					return false
				}
			}
			return true
		})
		before := tree(t, p.dir)
		begin := time.Now()
		if _, errs, ok := p.run("", "validate"); !ok || !strings.Contains(errs, "Valid configuration") && !strings.Contains(errs, "adapted config") {
			t.Errorf("validate: %s", errs)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("it took %v", d)
		}
		if after := tree(t, p.dir); after != before {
			t.Errorf("files before:\n%s\nafter:\n%s", before, after)
		}
		if a := rrtest.Do(t, "GET", url, "", withKey); a.Status != 200 {
			t.Errorf("the server answers %d", a.Status)
		}
	})
	t.Run("the autosaved configuration has placeholders", func(t *testing.T) {
		saved, err := os.ReadFile(filepath.Join(p.dir, "config/caddy/autosave.json"))
		if err != nil || !bytes.Contains(saved, []byte("{env.RR_VENDOR}")) {
			t.Errorf("no placeholder in the autosaved configuration: %v", err)
		}
		for _, c := range []string{callerKey, otherKey, vendorKey} {
			if bytes.Contains(saved, []byte(c)) {
				t.Errorf("%s is autosaved", c)
			}
		}
	})
	t.Run("reload", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(p.dir, "Caddyfile"), []byte(strings.Replace(config, "/v1/*", "/v2/*", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, errs, ok := p.run("", "reload"); !ok {
			t.Errorf("reload: %s", errs)
		}
		rrtest.Eventually(t, "the new rules hold", func() bool { return rrtest.Do(t, "GET", url, "", withKey).Status == 403 })
	})
}

// tree lists files with size and time.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && !strings.HasSuffix(path, ".lock") {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCheckCommand(t *testing.T) {
	config := strings.NewReplacer("GATEPORT", "8080", "UPSTREAM", "127.0.0.1:9").Replace(oneProxy)
	p := newProcess(t, config)
	for _, tt := range []struct {
		name   string
		secret string
		args   []string
		ok     bool
		want   []string
	}{
		{"allowed", callerKey, []string{"GET", "/v1/charges"}, true, []string{"recognises agent", "allow GET,POST /v1/* /stream", "proxy-access-granted", "http://127.0.0.1:9/base/v1/charges"}},
		{"denied by the default", callerKey, []string{"DELETE", "/v1/charges"}, false, []string{"no rule allows it", "proxy-access-denied"}},
		{"denied by a rule with a body", callerKey, []string{"POST", "/v1/charges", "--body", "rub.json", "-H", "Content-Type: application/json"}, false, []string{"body $.currency ^(?i)rub$ (no roubles)", "denied by rule 2"}},
		{"a wrong credential", "wrong", []string{"GET", "/v1/charges"}, false, []string{"accept agent", "does not recognise"}},
		{"a password", "sesame", []string{"GET", "/v1/charges", "--user", "bob"}, true, []string{"recognises bob"}},
		{"a header of its own", otherKey, []string{"GET", "/v1/charges", "-H", "X-Gateway-Key: {}"}, true, []string{"recognises key"}},
		{"a bad path", callerKey, []string{"GET", "/v1/../x"}, false, []string{"dot segment", "bad-path"}},
		{"as JSON", callerKey, []string{"GET", "/v1/x", "--json"}, true, []string{`"decision": "proxy-access-granted"`, `"credential": "agent"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(p.dir, "rub.json"), []byte(`{"currency":"RUB"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			out, errs, ok := p.run(tt.secret+"\n", append([]string{"rr", "check", "--proxy", "p", "--secret", "-"}, tt.args...)...)
			if ok != tt.ok {
				t.Errorf("succeeded: %v\n%s%s", ok, out, errs)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if strings.Contains(out+errs, vendorKey) || tt.secret != "wrong" && strings.Contains(out+errs, tt.secret) {
				t.Errorf("a secret is printed:\n%s%s", out, errs)
			}
		})
	}
	if _, errs, ok := p.run("", "rr", "check", "--proxy", "nope", "GET", "/"); ok || !strings.Contains(errs, `there is no proxy "nope"; there are: p`) {
		t.Errorf("an unknown proxy: %v %s", ok, errs)
	}
	out, _, ok := p.run("", "list-modules")
	for _, id := range []string{"rr", "http.handlers.rr_verify", "http.handlers.rr_inject", "http.reverse_proxy.transport.rr", "caddy.logging.encoders.rr", "rr.verifiers.key", "rr.injectors.custom", "admin.api.rr"} {
		if !ok || !strings.Contains("\n"+out, "\n"+id+"\n") {
			t.Errorf("list-modules has no %s", id)
		}
	}
}
