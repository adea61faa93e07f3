//go:build unix

package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// connections measures what n callers hold in a gateway of its own process: connections
// between two requests, and streams of server-sent events. Streams go on over a reload.
// The bare reverse_proxy is measured as well, for the same in Caddy without rr.
func (s *scale) connections(t *testing.T, handler string, n int) {
	if most := openFiles(t); n > most {
		s.others = append(s.others, fmt.Sprintf("| connections | %d instead of %d, since this user may open no more files | | |\n", most, n))
		n = most
	}
	news := newBroadcast()
	up := httptest.NewServer(news)
	t.Cleanup(up.Close)
	g := startScaledProcess(t, handler, up.Listener.Addr().String())
	before := g.memory()

	callers := make([]*caller, n)
	inParallel(t, n, func(i int) (err error) {
		if callers[i], err = dialCaller(g.addr); err != nil {
			return err
		}
		return callers[i].ask("/once", "hello")
	})
	idle := g.memory() - before
	inParallel(t, n, func(i int) error { return callers[i].stream() })
	streams := g.memory() - before
	if held := news.count(); held != n {
		t.Errorf("%d of %d streams arrive upstream", held, n)
	}
	lines := []scaleLine{
		{what: "idle connections, " + handler, number: n, heap: idle, each: idle / float64(n)},
		{what: "event streams, " + handler, number: n, heap: streams, each: streams / float64(n)},
	}
	lines[1].reload = g.reload()
	s.lines = append(s.lines, lines...)
	g.check(t)
	s.promise(fmt.Sprintf("%d event streams of %s, over a reload", n, handler), s.goOn(t, news, callers), "none is cut", !t.Failed())
}

// goOn sends an event to all streams, ends them, and says how many got it.
func (s *scale) goOn(t *testing.T, news *broadcast, callers []*caller) string {
	t.Helper()
	news.send("after the reload")
	var got, ended atomic.Int64
	inParallel(t, len(callers), func(i int) error {
		err := callers[i].event("after the reload")
		if err == nil {
			got.Add(1)
		}
		return err
	})
	news.end()
	inParallel(t, len(callers), func(i int) error {
		err := callers[i].ends()
		if err == nil {
			ended.Add(1)
		}
		return err
	})
	return fmt.Sprintf("%d got an event after it and %d their upstream's end", got.Load(), ended.Load())
}

// openFiles is how many connections this process can hold both ends of. (Go has raised the
// soft limit to the hard one already, here and in the gateway.)
func openFiles(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Cur, 1<<20))/2 - 100
}

// inParallel does work 0 to n-1, some at a time, and reports the first error and how many there were.
func inParallel(t *testing.T, n int, work func(i int) error) {
	t.Helper()
	var group sync.WaitGroup
	var next, failed atomic.Int64
	var first atomic.Pointer[error]
	for range min(n, 32) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := work(i); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	if failed.Load() > 0 {
		t.Fatalf("%d of %d: %v", failed.Load(), n, *first.Load())
	}
}

// caller is a connection, and what it gets of a stream.
type caller struct {
	conn   net.Conn
	reader *bufio.Reader
	body   *bufio.Reader
}

func dialCaller(addr string) (*caller, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Minute))
	return &caller{conn: conn, reader: bufio.NewReader(conn)}, nil
}

// begin sends a request and reads the head of a good answer.
func (c *caller) begin(path string) (*http.Response, error) {
	if _, err := io.WriteString(c.conn, "GET "+path+" HTTP/1.1\r\nHost: "+c.conn.RemoteAddr().String()+"\r\n"+withKey+"\r\n\r\n"); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(c.reader, nil)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", path, res.Status)
	}
	return res, err
}

func (c *caller) ask(path, want string) error {
	res, err := c.begin(path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && string(body) != want {
		err = fmt.Errorf("%s answers %q", path, body)
	}
	return err
}

// stream begins one and reads its first event.
func (c *caller) stream() error {
	res, err := c.begin("/events")
	if err != nil {
		return err
	}
	c.body = bufio.NewReaderSize(res.Body, 64)
	return c.event("first")
}

func (c *caller) event(want string) error {
	line, err := c.body.ReadString('\n')
	if err == nil && line != "data: "+want+"\n" {
		err = fmt.Errorf("got the event %q", line)
	}
	if err == nil {
		_, err = c.body.ReadString('\n')
	}
	return err
}

// ends reads the end of the stream, which is where the upstream made it.
func (c *caller) ends() error {
	defer c.conn.Close()
	rest, err := io.ReadAll(c.body)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("after the last event: %q", rest)
	}
	return err
}

// broadcast is an upstream whose streams all get the same events.
type broadcast struct {
	mu      sync.Mutex
	readers map[chan string]bool
}

func newBroadcast() *broadcast { return &broadcast{readers: map[chan string]bool{}} }

func (b *broadcast) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/events" {
		_, _ = io.WriteString(w, "hello")
		return
	}
	events := make(chan string, 2)
	events <- "first"
	b.mu.Lock()
	b.readers[events] = true
	b.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		select {
		case data, more := <-events:
			if !more {
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", data)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			b.mu.Lock()
			delete(b.readers, events)
			b.mu.Unlock()
			return
		}
	}
}

func (b *broadcast) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.readers)
}

func (b *broadcast) send(data string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for events := range b.readers {
		events <- data
	}
}

func (b *broadcast) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for events := range b.readers {
		close(events)
	}
	clear(b.readers)
}

// scaledProcess is a gateway in a process of its own.
type scaledProcess struct {
	t         *testing.T
	caddyfile string
	admin     string // base URL
	addr      string
}

func startScaledProcess(t *testing.T, handler, upstream string) *scaledProcess {
	t.Helper()
	port, admin := rrtest.FreePort(t), rrtest.FreePort(t)
	g := &scaledProcess{t: t, admin: "http://" + rrtest.Addr(admin), addr: rrtest.Addr(port)}
	site := "rr_proxy p"
	if handler == "reverse_proxy" {
		site = "reverse_proxy " + upstream
	}
	g.caddyfile = "{\n\tadmin " + rrtest.Addr(admin) + "\n\tpersist_config off\n\tauto_https off\n\trr {\n\t\tproxy p {\n\t\t\taccept key {env.RR_CALLER}\n\t\t\ttarget http://" + upstream +
		"\n\t\t\tpresent bearer {env.RR_VENDOR}\n\t\t\tallow GET /once /events\n\t\t}\n\t}\n}\nhttp://" + g.addr + " {\n\t" + site + "\n}\n"
	p := newProcess(t, g.caddyfile)
	server := exec.Command(p.path, "run")
	var said bytes.Buffer
	server.Dir, server.Env, server.Stderr = p.dir, p.env, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(20*time.Second, func() { _ = server.Process.Kill() })
		defer kill.Stop()
		if err := server.Wait(); err != nil {
			t.Errorf("the gateway: %v\n%.2000s", err, said.String())
		}
	})
	rrtest.Eventually(t, "the gateway answers", func() bool {
		c, err := dialCaller(g.addr)
		if err != nil {
			return false
		}
		defer c.conn.Close()
		return c.ask("/once", "hello") == nil
	})
	return g
}

// check is that the gateway lets nobody in without a credential, if it is one.
func (g *scaledProcess) check(t *testing.T) {
	t.Helper()
	want := http.StatusUnauthorized
	if !strings.Contains(g.caddyfile, "\trr_proxy p\n") {
		want = http.StatusOK
	}
	if a := rrtest.Do(t, "GET", "http://"+g.addr+"/once", ""); a.Status != want {
		t.Errorf("without a credential: %d", a.Status)
	}
}

// memory is the process's live heap and its stacks in bytes.
func (g *scaledProcess) memory() float64 {
	g.t.Helper()
	var vars struct {
		Memstats struct{ HeapAlloc, StackInuse float64 }
	}
	for _, path := range []string{"/debug/pprof/heap?gc=1&debug=1", "/debug/vars"} {
		a := rrtest.Do(g.t, "GET", g.admin+path, "")
		if a.Status != http.StatusOK {
			g.t.Fatalf("%s answers %d", path, a.Status)
		}
		if path == "/debug/vars" {
			if err := json.Unmarshal([]byte(a.Body), &vars); err != nil || vars.Memstats.HeapAlloc == 0 {
				g.t.Fatal(errors.Join(err, errors.New("no memstats")))
			}
		}
	}
	return vars.Memstats.HeapAlloc + vars.Memstats.StackInuse
}

// reload loads the configuration again and gives how long that took.
func (g *scaledProcess) reload() time.Duration {
	g.t.Helper()
	began := time.Now()
	a := rrtest.Do(g.t, "POST", g.admin+"/load", g.caddyfile, "Content-Type: text/caddyfile", "Cache-Control: must-revalidate")
	if a.Status != http.StatusOK {
		g.t.Fatalf("the reload answers %d: %s", a.Status, a.Body)
	}
	return time.Since(began)
}
