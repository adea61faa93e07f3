package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// daemonConfig is a gateway that serves what is made through the API, whose store is as
// STORE says. The API on its site is there for consents: nobody may do anything else.
const daemonConfig = `{
	admin ADMIN
	default_bind 127.0.0.1
	grace_period 1s
	rr {
		STORE
		egress allow 127.0.0.0/8
	}
}
:GATEPORT {
	rr_api /manage/* {
		url http://127.0.0.1:GATEPORT/manage
		owner user nobody
	}
	rr_gateway /api/*
}
`

// daemonPatience bounds every wait for a process: one that needs longer has hung.
const daemonPatience = time.Minute

// daemon is a Caddy process with a management API on loopback, which can be killed and
// started again.
type daemon struct {
	*process
	config string   // another configuration than daemonConfig
	vars   []string // names and values in the configuration: name, value, …
	before string   // what a shell does before it becomes Caddy, such as setting a limit

	admin, gate string // its addresses
	client      *http.Client
	cmd         *exec.Cmd
	ended       chan struct{}
	log         *safeBuffer
}

// newDaemon makes a process of daemonConfig, with the store as the lines say, and starts it.
func newDaemon(t *testing.T, store string) *daemon {
	t.Helper()
	d := prepareDaemon(t, store)
	d.start()
	return d
}

func prepareDaemon(t *testing.T, store string) *daemon {
	t.Helper()
	d := &daemon{process: newProcess(t, daemonConfig), config: daemonConfig, vars: []string{"STORE", store}, log: new(safeBuffer)}
	d.client = &http.Client{Timeout: daemonPatience, Transport: new(http.Transport)}
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the process's log:\n%s", lastLines(d.log.String(), 16<<10))
		}
	})
	return d
}

// safeBuffer is a buffer for a process to write to while it is read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *safeBuffer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

// lastLines is the end of a log, without the requests to the admin endpoint.
func lastLines(s string, n int) string {
	lines := slices.DeleteFunc(strings.Split(s, "\n"), func(line string) bool { return strings.Contains(line, "received request") })
	if s = strings.Join(lines, "\n"); len(s) > n {
		_, s, _ = strings.Cut(s[len(s)-n:], "\n")
	}
	return s
}

// setStore has the next start use another store, or other keys.
func (d *daemon) setStore(store string) { d.vars[1] = store }

// configure writes the configuration, with ports that nobody has.
func (d *daemon) configure() {
	d.t.Helper()
	admin, gate := rrtest.FreePort(d.t), rrtest.FreePort(d.t)
	d.admin, d.gate = "http://"+rrtest.Addr(admin), "http://"+rrtest.Addr(gate)
	d.writeConfig()
}

func (d *daemon) writeConfig() {
	d.t.Helper()
	text := strings.NewReplacer(append(d.vars, "ADMIN", strings.TrimPrefix(d.admin, "http://"), "GATEPORT", d.gate[strings.LastIndexByte(d.gate, ':')+1:])...).Replace(d.config)
	if err := os.WriteFile(filepath.Join(d.dir, "Caddyfile"), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// launch starts the process, and does not wait for it.
func (d *daemon) launch() {
	d.t.Helper()
	d.configure()
	d.log.reset()
	cmd := exec.Command(d.path, "run")
	if d.before != "" {
		cmd = exec.Command("sh", "-c", d.before+`; exec "$0" run`, d.path)
	}
	cmd.Dir, cmd.Env, cmd.Stderr = d.dir, d.env, d.log
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	d.cmd, d.ended = cmd, ended
}

// errEnded is that the process has ended although it should serve.
var errEnded = errors.New("the process has ended")

// start starts the process and waits until it serves.
func (d *daemon) start() {
	d.t.Helper()
	if err := d.tryStart(); err != nil {
		d.t.Fatalf("the process does not start: %v\n%s", err, lastLines(d.log.String(), 8<<10))
	}
}

// tryStart is start for a process that may refuse to; then the log says why.
func (d *daemon) tryStart() error {
	d.t.Helper()
	for {
		d.launch()
		err := d.ready()
		if err == nil || !strings.Contains(d.log.String(), "address already in use") {
			return err
		}
	}
}

// ready waits until the process serves.
func (d *daemon) ready() error {
	for end := time.Now().Add(daemonPatience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		select {
		case <-d.ended:
			return errEnded
		default:
		}
		if a, err := d.call("GET", "/rr/health", ""); err == nil && a.Status == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("it does not answer within %s", daemonPatience)
}

// refused starts a process that has to end with an error which has these texts.
func (d *daemon) refused(texts ...string) {
	d.t.Helper()
	if err := d.tryStart(); !errors.Is(err, errEnded) {
		d.t.Errorf("the process starts (%v); it has to be refused", err)
		d.kill()
		return
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 1 {
		d.t.Errorf("it ends with code %d", code)
	}
	var why string
	for line := range strings.Lines(d.log.String()) {
		if !strings.Contains(line, `"logger":`) { // what Caddy itself says at its end
			why = line
		}
	}
	for _, text := range texts {
		if !strings.Contains(why, text) {
			d.t.Errorf("%q is not in what the process says at its end: %s", text, why)
		}
	}
}

// kill ends the process at once.
func (d *daemon) kill() {
	if d.cmd != nil {
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
}

// stop ends the process as an operator does.
func (d *daemon) stop() {
	d.t.Helper()
	_ = d.cmd.Process.Signal(os.Interrupt)
	select {
	case <-d.ended:
	case <-time.After(daemonPatience):
		d.kill()
		d.t.Fatal("the process does not end")
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("the process ends with code %d", code)
	}
}

// call calls the API, below /rr/clients/default unless the path begins with a slash. An
// error is that there was no whole answer.
func (d *daemon) call(method, path, body string, headers ...string) (rrtest.Answer, error) {
	if !strings.HasPrefix(path, "/") {
		path = "/rr/clients/default/" + path
	}
	if body != "" {
		headers = append(headers, "Content-Type: application/json")
	}
	return d.send(method, d.admin+path, body, headers...)
}

// through calls a proxy with a key; an error is that there was no whole answer.
func (d *daemon) through(proxy, path, key string) (rrtest.Answer, error) {
	return d.send("GET", d.gate+"/api/"+proxy+path, "", "Authorization: Bearer "+key)
}

func (d *daemon) send(method, url, body string, headers ...string) (rrtest.Answer, error) {
	return rrtest.Try(context.Background(), d.client, method, url, body, headers...)
}

// ask is call for a process that has to answer, with one of these statuses.
func (d *daemon) ask(method, path, body string, statuses ...int) rrtest.Answer {
	d.t.Helper()
	a, err := d.call(method, path, body)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	for _, s := range statuses {
		if a.Status == s {
			return a
		}
	}
	d.t.Fatalf("%s %s: %d, want %v: %.600s", method, path, a.Status, statuses, a.Body)
	return a
}

// made makes a record and returns it.
func (d *daemon) made(kind, body string) map[string]any {
	d.t.Helper()
	list, err := recordsIn(kind, d.ask("POST", kind, body, http.StatusCreated).Body)
	if err != nil || len(list) != 1 {
		d.t.Fatalf("%v: %d records", err, len(list))
	}
	return list[0]
}

// recordsIn are the records of an answer.
func recordsIn(kind, body string) (list []map[string]any, err error) {
	var envelope map[string]json.RawMessage
	if err = json.Unmarshal([]byte(body), &envelope); err == nil {
		err = json.Unmarshal(envelope[kind], &list)
	}
	if err != nil {
		err = fmt.Errorf("no %s in %.300s: %w", kind, body, err)
	}
	return list, err
}

// usual makes the proxy p, to u, for a new caller, and returns the caller's key.
func (d *daemon) usual(u *rrtest.Upstream) (key string) {
	d.t.Helper()
	r := d.made("credentials", `{"credentialType":"proxy","credentialAuthType":"key","credentialName":"agent"}`)
	key, _ = r["credentialSecret"].(map[string]any)["key"].(string)
	d.made("credentials", `{"credentialType":"target","credentialAuthType":"bearer","credentialName":"vendor-key","credentialSecret":{"token":"`+vendorKey+`"}}`)
	d.made("targets", `{"targetName":"vendor","targetBaseURL":"`+u.URL+`"}`)
	d.made("proxies", `{"proxyName":"p","proxyProxyCredentialId":"agent","proxyTargetId":"vendor","proxyTargetCredentialId":"vendor-key"}`)
	return key
}

// serves checks that the usual proxy answers, with the vendor's key.
func (d *daemon) serves(u *rrtest.Upstream, key string) {
	d.t.Helper()
	u.Reset()
	a, err := d.through("p", "/x", key)
	if err != nil || a.Status != http.StatusOK {
		d.t.Errorf("the proxy answers %d %.300s %v", a.Status, a.Body, err)
		return
	}
	if got := one(d.t, u); got.Header.Get("Authorization") != "Bearer "+vendorKey || got.URI != "/x" {
		d.t.Errorf("the upstream got %s %v", got.URI, got.Header)
	}
}

// dbFile is the default store's file.
func (d *daemon) dbFile() string { return filepath.Join(d.dir, "data/caddy/rr/rr.db") }

// keyFile is the key file beside it.
func (d *daemon) keyFile() string { return filepath.Join(d.dir, "data/caddy/rr/rr.key") }
