package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// gateway is one process, on the gateway's core or on all, with one row's
// configuration and nothing of this machine's user in it.
type gateway struct {
	row     row
	address string
	token   string // of the check
	load    *load
	process *exec.Cmd
	exited  <-chan struct{}
	said    bytes.Buffer // its standard error; read only after exited
	admin   *http.Client
}

// parties are who the gateways deal with.
type parties struct {
	upstream string // host and port
	issuer   *issuer
}

// startGateway starts a row's gateway in its own folder, waits until it answers
// and checks that it does what the row is about. The caller stops it.
func startGateway(o options, pinned bool, r row, dir string, p parties) (*gateway, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "admin.sock")
	vars := []string{"BENCH_DIR=" + dir, "BENCH_ADMIN=unix/" + socket, "BENCH_ADDRESS=" + address,
		"BENCH_UPSTREAM=" + p.upstream, "BENCH_KEYS=" + filepath.Join(dir, "keys.json")}
	if err := p.issuer.publish(dir); err != nil {
		return nil, err
	}
	g := &gateway{row: r, address: address, admin: unixClient(socket)}
	if r.Program.Name == "" {
		g.process, err = caddyCommand(o, r, dir)
	} else {
		g.process, err = r.Program.command(r, dir, slices.Concat(vars, benchSecrets))
	}
	if err != nil {
		return nil, err
	}
	g.process.Dir = dir
	g.process.Stderr = &g.said
	g.process.Env = slices.Concat([]string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}, vars, benchSecrets, r.Variables)
	core := allCores
	if pinned {
		core = o.gatewayCore
		g.process.Env = append(g.process.Env, "GOMAXPROCS=1")
	}
	if g.exited, err = startPinned(g.process, core); err != nil {
		return nil, fmt.Errorf("start %s: %w", g.process.Path, err)
	}
	if err := g.ready(o, p.issuer.of(o, r)); err != nil {
		g.stop()
		return nil, fmt.Errorf("%w\n%s", err, g.said.String())
	}
	return g, nil
}

// caddyCommand is Caddy with the row's Caddyfile, which reads its variables itself.
func caddyCommand(o options, r row, dir string) (*exec.Cmd, error) {
	config := filepath.Join(dir, "Caddyfile")
	err := os.WriteFile(config, []byte(r.Config), 0o600)
	return exec.Command(cmp.Or(r.Caddy, o.caddy), "run", "--config", config, "--adapter", "caddyfile"), err
}

// ready waits for the gateway's first answer, checks it, and opens the load. The
// check has the last token, which the load comes to last.
func (g *gateway) ready(o options, tokens []string) error {
	if err := g.listening(); err != nil {
		return err
	}
	if len(tokens) > 0 {
		g.token = tokens[len(tokens)-1]
	}
	if err := g.check(); err != nil {
		return fmt.Errorf("row %s: %w", g.row.Name, err)
	}
	var err error
	g.load, err = openLoad(g.address, requestsOf(g.row, g.address, tokens), o.connections)
	return err
}

// listening returns when the gateway takes connections, or has exited.
func (g *gateway) listening() error {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		conn, err := net.DialTimeout("tcp", g.address, patience)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-g.exited:
			return fmt.Errorf("the gateway of row %s ended at once (is the binary built with the plugin? `make build`)", g.row.Name)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("the gateway of row %s did not listen within %s", g.row.Name, patience)
}

// check sends two requests before anything is timed: one that the upstream
// echoes, to see what left the gateway, and one as they are measured.
func (g *gateway) check() error {
	echoed, err := g.get(echoPath)
	if err != nil {
		return err
	}
	sends := strings.ReplaceAll(g.row.Sends, eachToken, g.token)
	if !containsFold(echoed, sends) {
		return fmt.Errorf("the upstream did not get %q", sends)
	}
	hidden := strings.ReplaceAll(g.row.Hides, eachToken, g.token)
	if hidden != "" && bytes.Contains(echoed, []byte(hidden)) {
		return fmt.Errorf("the upstream got the caller's credential")
	}
	body, err := g.get(g.row.Path)
	if err == nil && !bytes.Equal(body, fixedBody) {
		err = fmt.Errorf("wrong answer: %q", body)
	}
	return err
}

// containsFold is whether the head has the header, whose name may be in another case.
func containsFold(head []byte, header string) bool {
	name, value, _ := strings.Cut(header, ":")
	for line := range bytes.Lines(head) {
		is, has, _ := bytes.Cut(line, []byte(":"))
		if strings.EqualFold(string(is), name) && bytes.Contains(has, []byte(value)) {
			return true
		}
	}
	return false
}

// get sends the row's request to the path on a connection of its own and gives
// the body of a 200.
func (g *gateway) get(path string) ([]byte, error) {
	conn, err := net.DialTimeout("tcp", g.address, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(requestBytes(g.row, path, g.address, g.token)); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the answer is not 200: %s %s", response.Status, body)
	}
	return body, err
}

// heap is what the gateway's runtime has allocated since it started.
type heap struct {
	Mallocs    uint64 // objects
	TotalAlloc uint64 // bytes
}

// heapNow asks the admin endpoint (expvar's memstats, which Caddy serves).
func (g *gateway) heapNow() (heap, error) {
	response, err := g.admin.Get("http://admin/debug/vars")
	if err != nil {
		return heap{}, err
	}
	defer response.Body.Close()
	var vars struct{ Memstats *heap }
	if err := json.NewDecoder(response.Body).Decode(&vars); err != nil {
		return heap{}, err
	}
	if vars.Memstats == nil {
		return heap{}, fmt.Errorf("the admin endpoint gave no memstats: %s", response.Status)
	}
	return *vars.Memstats, nil
}

// stop ends the process, the hard way if it does not leave in time.
func (g *gateway) stop() {
	if g.load != nil {
		g.load.close()
	}
	g.admin.CloseIdleConnections()
	_ = g.process.Process.Signal(os.Interrupt)
	select {
	case <-g.exited:
	case <-time.After(patience):
		_ = g.process.Process.Kill()
		<-g.exited
	}
}

// unixClient talks HTTP to a socket, one connection per request.
func unixClient(socket string) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// freeAddress is a loopback address that was free a moment ago.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
