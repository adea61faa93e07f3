package stripe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// world is a running gateway with the mock behind it, and a recorder between the two.
type world struct {
	gateway, mock string // base addresses
	key           string // of the caller
	issuer        *issuer
	log           *output

	mu  sync.Mutex
	got []received
}

// received is a request as the vendor gets it. form has the query or the body's fields.
type received struct {
	method, uri string
	header      http.Header
	form        url.Values
}

// start builds what is missing in bin/, and runs it.
func start(t *testing.T) *world {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(top, "bin")
	command(t, top, nil, "go", "build", "-o", "bin/caddy", "./cmd/caddy")
	if _, err := os.Stat(filepath.Join(bin, "stripe-mock")); err != nil {
		command(t, top, []string{"GOBIN=" + bin}, "go", "install", "github.com/stripe/stripe-mock@v0.203.0")
	}
	w := &world{key: newKey(t, top), issuer: newIssuer(t)}

	mockAddr := freeAddr(t)
	w.mock = "http://" + mockAddr
	run(t, w.mock, nil, filepath.Join(bin, "stripe-mock"), "-http-addr", mockAddr, "-https-addr", "127.0.0.1:0")

	recorder := httptest.NewServer(w.record(t))
	t.Cleanup(recorder.Close)
	addr := freeAddr(t)
	w.gateway = "http://" + addr
	_, port, _ := net.SplitHostPort(addr)
	w.log = run(t, w.gateway, []string{
		"RR_PORT=" + port, "STRIPE_PORT=" + recorder.URL[strings.LastIndexByte(recorder.URL, ':')+1:],
		"BILLING_KEY=" + w.key, "STRIPE_KEY=" + vendorKey, "ISSUER=" + w.issuer.url,
	}, filepath.Join(bin, "caddy"), "run", "--config", "Caddyfile")
	return w
}

func newKey(t *testing.T, top string) string {
	t.Helper()
	out := command(t, top, nil, "bin/caddy", "rr", "keygen")
	line, _, _ := strings.Cut(out, "\n")
	key, ok := strings.CutPrefix(line, "key:  ")
	if !ok {
		t.Fatalf("caddy rr keygen printed %q", out)
	}
	return key
}

// record notes requests and passes them on. The mock says of every list that it is
// complete; so that the SDK asks for a second page, the first is said not to be.
func (w *world) record(t *testing.T) http.Handler {
	mock, err := url.Parse(w.mock)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(mock)
			r.Out.Header.Del("Accept-Encoding") // the answer is to be read
		},
		ModifyResponse: func(resp *http.Response) error {
			if q := resp.Request.URL.Query(); q.Get("limit") == "" || q.Has("starting_after") {
				return nil
			}
			var list map[string]any
			if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
				return err
			}
			list["has_more"] = true
			body, err := json.Marshal(list)
			if err != nil {
				return err
			}
			resp.Body = io.NopCloser(bytes.NewReader(body))
			resp.ContentLength = int64(len(body))
			resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
			return nil
		},
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		text := string(body)
		if text == "" {
			text = r.URL.RawQuery
		}
		form, _ := url.ParseQuery(text)
		w.mu.Lock()
		w.got = append(w.got, received{r.Method, r.RequestURI, r.Header.Clone(), form})
		w.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(rw, r)
	})
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.got)
}

func (w *world) last(t *testing.T) received {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.got) == 0 {
		t.Fatal("the vendor got nothing")
	}
	return w.got[len(w.got)-1]
}

// checkKeys sees that each key was only where it belongs.
func (w *world) checkKeys(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.got {
		if a := r.header["Authorization"]; len(a) != 1 || a[0] != "Bearer "+vendorKey {
			t.Errorf("%s %s came with %q", r.method, r.uri, a)
		}
		if strings.Contains(fmt.Sprint(r), w.key) {
			t.Errorf("the vendor got the caller's key: %v", r)
		}
	}
	for _, key := range []string{w.key, vendorKey} {
		if strings.Contains(w.log.String(), key) {
			t.Errorf("a key is in the gateway's log")
		}
	}
}

// command runs a program to its end and returns what it printed.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, stderr.String())
	}
	return string(out)
}

// run starts a program, waits until it answers at address, and stops it with the test.
func run(t *testing.T, address string, env []string, name string, args ...string) *output {
	t.Helper()
	out := new(output)
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get(address); err == nil {
			resp.Body.Close()
			return out
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", name, err, out)
		default:
		}
	}
	t.Fatalf("%s does not answer at %s\n%s", name, address, out)
	return nil
}

// freeAddr is a free loopback address, below the ports that the kernel gives to connections
// and servers that do not name one.
func freeAddr(t *testing.T) string {
	t.Helper()
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal(err)
	return ""
}

// output is what a program has printed so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
