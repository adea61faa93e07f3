package idp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/loopback"
)

// External is a certified OpenID provider, the npm package oidc-provider, in a process of
// its own: test/testdata/oidc/provider.js, whose comment says what it has. It keeps its port
// and its keys when it is stopped and started.
type External struct {
	// Issuer is where it is.
	Issuer string

	t      testing.TB
	folder string
	node   string // the program
	env    []string
	output output
	cmd    *exec.Cmd // nil: stopped
	ended  chan struct{}
}

// ExternalResource begins the resources for which External makes JWTs; the algorithm is
// behind it.
const ExternalResource = "https://api.example/"

// ExternalSecret is the secret of one of External's clients.
func ExternalSecret(client string) string {
	return client + "-secret-0123456789abcdef0123456789abcdef"
}

// StartExternal starts the provider of a folder, test/testdata/oidc, and stops it when the test
// ends. env is NAME=value, beside this process's environment. Without node, or before `npm
// ci`, the test is skipped, or fails with RR_REQUIRE_EXTERNAL=1.
func StartExternal(t testing.TB, folder string, env ...string) *External {
	t.Helper()
	node, err := findNode(folder)
	if err != nil {
		missing(t, "node is not installed: "+err.Error())
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "oidc-provider")); err != nil {
		missing(t, "npm ci was not run in "+folder+": "+err.Error())
	}
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	e := &External{t: t, node: node, folder: folder, Issuer: "http://" + loopback.Addr(port)}
	e.env = append(os.Environ(), "PORT="+strconv.Itoa(port), "KEYS="+filepath.Join(t.TempDir(), "keys.json"))
	e.env = append(e.env, env...)
	t.Cleanup(func() {
		e.Stop()
		if t.Failed() {
			t.Logf("the provider's output:\n%s", e.output.String())
		}
	})
	e.Start()
	return e
}

// findNode prefers the node that `make deps` brings where the system's is too old.
func findNode(folder string) (string, error) {
	own, _ := filepath.Glob(filepath.Join(folder, "..", "..", "..", "bin", "node", "node_modules", "node-*", "bin", "node"))
	if len(own) > 0 {
		return filepath.Abs(own[0])
	}
	return exec.LookPath("node")
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("RR_REQUIRE_EXTERNAL") == "1" {
		t.Fatal(what)
	}
	t.Skip(what + "; with RR_REQUIRE_EXTERNAL=1 this fails")
}

// output is what a process has written.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Start starts the provider again, and waits until it answers. Where node hangs while it
// starts, which it does now and then on busy machines, it is started anew.
func (e *External) Start() {
	e.t.Helper()
	for range 4 {
		if e.start() {
			return
		}
		e.t.Logf("node hangs, and is started anew; so far:\n%s", e.output.String())
		_ = e.cmd.Process.Kill()
		<-e.ended
	}
	e.t.Fatalf("the provider is not ready:\n%s", e.output.String())
}

// start reports whether the provider answers in time.
func (e *External) start() bool {
	e.t.Helper()
	cmd := exec.Command(e.node, "provider.js")
	cmd.Dir, cmd.Env, cmd.Stderr = e.folder, e.env, &e.output
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	e.cmd, e.ended = cmd, ended
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			fmt.Fprintln(&e.output, lines.Text())
			if lines.Text() == "ready "+e.Issuer {
				close(ready)
			}
		}
		_ = cmd.Wait()
	}()
	select {
	case <-ready:
		return true
	case <-ended:
		e.t.Fatalf("the provider ends at once:\n%s", e.output.String())
	case <-time.After(4 * patience): // node reads some hundred files first, on a disk and cores that others use too
	}
	return false
}

// Stop ends the process: connections are then refused.
func (e *External) Stop() {
	e.t.Helper()
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.ended:
	case <-time.After(patience):
		e.t.Error("the provider does not end")
		_ = e.cmd.Process.Kill()
		<-e.ended
	}
	e.cmd = nil
}

// Rotate makes new keys, with which the provider signs from now on; the old ones stay in
// the key set until Retire.
func (e *External) Rotate() { e.t.Helper(); e.control("POST", "/test/rotate") }

// Retire takes all keys but the newest out of the key set.
func (e *External) Retire() { e.t.Helper(); e.control("POST", "/test/retire") }

// CacheControl is the header of that name of the key set.
func (e *External) CacheControl(value string) {
	e.t.Helper()
	e.control("POST", "/test/cache?value="+url.QueryEscape(value))
}

// Requests is how often a path was asked for since the process began.
func (e *External) Requests(path string) int {
	e.t.Helper()
	var state struct{ Requests map[string]int }
	if err := json.Unmarshal(e.control("GET", "/test/state"), &state); err != nil {
		e.t.Fatal(err)
	}
	return state.Requests[path]
}

func (e *External) control(method, path string) []byte {
	e.t.Helper()
	req, err := http.NewRequest(method, e.Issuer+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	status, text, err := send(req)
	if err != nil || status != http.StatusOK {
		e.t.Fatalf("%s: %d %s %v", path, status, text, err)
	}
	return text
}

// Token gets an access token by client_credentials: a JWT for a resource, an opaque one
// without. Scopes are separated by spaces. With a prover the token is bound to its key.
func (e *External) Token(resource, scope string, prover *Prover) string {
	e.t.Helper()
	token, err := e.TryToken(resource, scope, prover)
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}

// TryToken is Token for goroutines, which must not end the test.
func (e *External) TryToken(resource, scope string, prover *Prover) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}
	if resource != "" {
		form.Set("resource", resource)
	}
	req, err := formRequest(e.Issuer+"/token", "caller", form)
	if err != nil {
		return "", err
	}
	if prover != nil {
		req.Header.Set("DPoP", prover.Proof("POST", e.Issuer+"/token", "", nil, nil))
	}
	status, text, err := send(req)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Token == "" {
		return "", fmt.Errorf("token endpoint: %d %s", status, text)
	}
	return answer.Token, nil
}

// Revoke makes an opaque token inactive (RFC 7009).
func (e *External) Revoke(token string) {
	e.t.Helper()
	req, err := formRequest(e.Issuer+"/token/revocation", "caller", url.Values{"token": {token}})
	if err != nil {
		e.t.Fatal(err)
	}
	if status, text, err := send(req); err != nil || status != http.StatusOK {
		e.t.Fatalf("revocation: %d %s %v", status, text, err)
	}
}

func formRequest(url, client string, form url.Values) (*http.Request, error) {
	req, err := http.NewRequest("POST", url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, ExternalSecret(client))
	return req, nil
}

// send uses a connection of its own: the provider may have been stopped meanwhile.
func send(req *http.Request) (status int, text []byte, err error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	text, err = io.ReadAll(res.Body)
	return res.StatusCode, text, errors.Join(err, res.Body.Close())
}
