package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// patience bounds every wait for the process itself: starting, ending, loading.
const patience = time.Minute

// raceFlags build the binary with the race detector if the test has it.
var raceFlags []string

// gateway is the binary and the process that runs it, if one does.
type gateway struct {
	t      *testing.T
	binary string
	dir    string // its working directory, with the configuration in force
	disk   *disk  // all that it writes itself is there
	env    []string
	admin  string // addresses
	gate   string
	output *output

	client *http.Client // for the admin endpoint

	mu    sync.Mutex // held while the process is replaced or its limits are set
	cmd   *exec.Cmd
	ended chan struct{}
	lives int
}

// build compiles the Caddy of this folder.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "caddy")
	args := append([]string{"build", "-buildvcs=false", "-o", binary}, raceFlags...)
	if out, err := exec.Command("go", append(args, "./caddy")...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

func newGateway(t *testing.T, d *disk) *gateway {
	t.Helper()
	g := &gateway{
		t: t, binary: build(t), dir: t.TempDir(), disk: d,
		admin: rrtest.Addr(rrtest.FreePort(t)), gate: rrtest.Addr(rrtest.FreePort(t)), output: new(output),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	g.env = append(os.Environ(),
		"XDG_DATA_HOME="+filepath.Join(d.folder, "data"), "XDG_CONFIG_HOME="+filepath.Join(d.folder, "config"),
		"GORACE=halt_on_error=0", "GOTRACEBACK=all")
	t.Cleanup(g.kill)
	return g
}

// configure writes the configuration that the next start takes.
func (g *gateway) configure(caddyfile string) {
	if err := os.WriteFile(filepath.Join(g.dir, "Caddyfile"), []byte(caddyfile), 0o600); err != nil {
		g.t.Error(err)
	}
}

// start starts the process and waits until it serves.
func (g *gateway) start() error {
	for try := 0; ; try++ {
		err := g.launch()
		if err == nil {
			err = g.ready()
		}
		// somebody's outgoing connection may have had one of the ports
		if err == nil || try == 5 || !g.output.said("address already in use") {
			return err
		}
		g.kill()
	}
}

func (g *gateway) launch() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	cmd := exec.Command(g.binary, "run")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = g.dir, g.env, g.output, g.output
	g.output.next()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	g.cmd, g.ended = cmd, ended
	g.lives++
	return nil
}

func (g *gateway) ready() error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-g.ended:
			return errors.New("the process has ended while it started:\n" + g.output.tail())
		default:
		}
		if a, err := g.ask("GET", "/rr/health", ""); err == nil && a.Status == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("the process does not serve within %s:\n%s", patience, g.output.tail())
}

// kill ends the process at once, as the kernel does when memory is short.
func (g *gateway) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cmd != nil {
		_ = g.cmd.Process.Kill()
		<-g.ended
	}
}

// stop ends the process as an operator does.
func (g *gateway) stop() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.cmd.Process.Signal(os.Interrupt)
	select {
	case <-g.ended:
	case <-time.After(patience):
		_ = g.cmd.Process.Kill()
		<-g.ended
		return fmt.Errorf("the process does not end within %s", patience)
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the process ends with code %d", code)
	}
	return nil
}

// signal sends the process a signal; it may have ended.
func (g *gateway) signal(s syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.cmd.Process.Signal(s)
}

// pid is the process's. Nothing may be done with it but under the lock that this takes.
func (g *gateway) withPID(f func(pid int)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.ended:
	default:
		f(g.cmd.Process.Pid)
	}
}

// running tells whether the process has not ended.
func (g *gateway) running() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.ended:
		return false
	default:
		return true
	}
}

// ask asks the admin endpoint. An error is that there was no whole answer.
func (g *gateway) ask(method, path, body string, headers ...string) (rrtest.Answer, error) {
	return g.askWithin(patience, method, path, body, headers...)
}

func (g *gateway) askWithin(limit time.Duration, method, path, body string, headers ...string) (rrtest.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return rrtest.Try(ctx, g.client, method, "http://"+g.admin+path, body, headers...)
}

// load has the process take another configuration.
func (g *gateway) load(caddyfile string) (rrtest.Answer, error) {
	return g.ask("POST", "/load", caddyfile, "Content-Type: text/caddyfile", "Cache-Control: must-revalidate")
}

// setClock has the process's wall clock be ahead of the machine's, until it ends.
func (g *gateway) setClock(ahead time.Duration) error {
	a, err := g.ask("POST", "/chaos/clock?ahead="+ahead.String(), "")
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("the clock cannot be set: %d %s", a.Status, a.Body)
	}
	return err
}

// output reads what the process writes to its standard error: it looks through it for what
// must never be there, and keeps the end of it.
type output struct {
	mu     sync.Mutex
	rest   []byte // of a line that is not whole yet
	life   bytes.Buffer
	bytes  int64
	leaks  scanner
	broken []string // lines that tell of a bug
}

// keepOutput is how much is kept, in bytes, of what a process wrote.
const keepOutput = 8 << 20

// signs of a bug, whatever else happens.
var signs = []string{"DATA RACE", "panic", "fatal error:", "goroutine stack exceeds", `"level":"fatal"`}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes += int64(len(p))
	if o.life.Len() > keepOutput {
		kept := bytes.Clone(o.life.Bytes()[o.life.Len()-keepOutput/2:])
		o.life.Reset()
		o.life.Write(kept)
	}
	o.life.Write(p)
	o.rest = append(o.rest, p...)
	for {
		line, rest, whole := bytes.Cut(o.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		o.line(line)
		o.rest = rest
	}
}

func (o *output) line(line []byte) {
	o.leaks.scan("its standard error", line)
	for _, sign := range signs {
		if bytes.Contains(line, []byte(sign)) && len(o.broken) < 20 {
			o.broken = append(o.broken, string(line))
		}
	}
}

// next begins the output of another process.
func (o *output) next() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.life.Reset()
	o.rest = nil
}

func (o *output) said(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Contains(o.life.Bytes(), []byte(text))
}

// about is what the process wrote about a call.
func (o *output) about(id string) (lines []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range strings.Lines(o.life.String()) {
		if strings.Contains(line, id+`"`) && len(lines) < 6 {
			lines = append(lines, line[:min(len(line), 1500)])
		}
	}
	return lines
}

// dull is what many lines have that tell nothing.
var dull = []string{`"level":"debug"`, "handled request", "received request", `"msg":"refused"`}

// tail is the end of what the process wrote, without what is of no interest.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var kept []string
	for line := range strings.Lines(o.life.String()) {
		if !slices.ContainsFunc(dull, func(text string) bool { return strings.Contains(line, text) }) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-60):], "")
}
