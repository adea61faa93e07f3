package cli

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// breaking breaks the connection of the first requests, without an answer, and answers the
// others.
type breaking struct {
	times atomic.Int32 // how many are still broken
	calls atomic.Int32
	body  string
}

func (b *breaking) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.calls.Add(1)
	if b.times.Add(-1) >= 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, b.body)
}

// serve is a script's command line against a handler.
func serve(t *testing.T, h http.Handler) (*script, string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Chdir(t.TempDir())
	return &script{t: t, api: newFakeAPI(), now: time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)}, server.Listener.Addr().String()
}

// TestLostAnswers breaks connections: what can be done twice is, and nothing else.
func TestLostAnswers(t *testing.T) {
	const target = `{"targets":[{"targetId":"t1","targetName":"a"}]}`
	for _, c := range []struct {
		name   string
		times  int32
		line   string
		body   string
		calls  int32
		stderr string // "": it succeeds
	}{
		{"a create is repeated with its key", 2, "targets create --name a --base-url https://a.example", target, 3, ""},
		{"reading is repeated", 1, "targets get a", target, 2, ""},
		{"but not for ever", 9, "targets create --name a --base-url https://a.example --idempotency-key k", target, 4, "--idempotency-key k does it once in any case"},
		{"a change is not", 1, "targets update a --name b", target, 1, "no answer from"},
		{"nor is a deletion", 1, "targets delete a --yes", target, 1, "no answer from"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &breaking{body: c.body}
			b.times.Store(c.times)
			x, address := serve(t, b)
			_, stderr, err := x.run(append(words(c.line), "--address", address))
			if (err == nil) != (c.stderr == "") || !strings.Contains(stderr, c.stderr) {
				t.Errorf("got %v, %q; want %q", err, stderr, c.stderr)
			}
			if n := b.calls.Load(); n != c.calls {
				t.Errorf("there were %d calls, want %d", n, c.calls)
			}
		})
	}
}

// TestSlowAPI waits no longer than it was told.
func TestSlowAPI(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	x, address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush() // the beginning comes, the rest does not
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	_, stderr, err := x.run([]string{"health", "--timeout", "300ms", "--address", address})
	if err == nil || !strings.Contains(stderr, "longer than --timeout") {
		t.Errorf("got %v, %q", err, stderr)
	}
}

// TestBrokenOff has a copy break off in the middle: no file is left, and what was there
// stays.
func TestBrokenOff(t *testing.T) {
	x, address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", bytesType)
		_, _ = io.WriteString(w, "half of it")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	if err := os.WriteFile("old.db", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new.db", "old.db"} {
		_, stderr, err := x.run([]string{"backup", "-o", name, "--overwrite", "--address", address})
		if err == nil || !strings.Contains(stderr, "broke off") {
			t.Errorf("%s: got %v, %q", name, err, stderr)
		}
	}
	if files, _ := filepath.Glob("*"); len(files) != 1 {
		t.Errorf("there are %q", files)
	}
	if parts, _ := filepath.Glob(".rr-*"); len(parts) != 0 {
		t.Errorf("left behind: %q", parts)
	}
	if old, _ := os.ReadFile("old.db"); string(old) != "old" {
		t.Errorf("the old file has %q", old)
	}
}

// TestWriteFile looks at the file that is made.
func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := writeFile(path, false, func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode != 0o600 {
		t.Errorf("its mode is %o", mode)
	}
	called := false
	if err := writeFile(path, false, func(io.Writer) error { called = true; return nil }); err == nil || called {
		t.Errorf("it was written again: %v", err)
	}
	late := path + "-late" // made by somebody else while it was being written
	err = writeFile(late, false, func(io.Writer) error { return os.WriteFile(late, []byte("theirs"), 0o600) })
	if content, _ := os.ReadFile(late); err == nil || string(content) != "theirs" {
		t.Errorf("%v, and the other's file has %q", err, content)
	}
}

// TestNoRedirect never takes a token elsewhere.
func TestNoRedirect(t *testing.T) {
	reached := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewTLSServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	t.Chdir(t.TempDir())
	writeCA(t, server)
	t.Setenv("TOKEN", "a-token")
	x := &script{t: t, now: time.Now()}
	_, stderr, err := x.run([]string{"targets", "list", "--url", server.URL, "--ca", "ca.pem", "--token-env", "TOKEN"})
	if err == nil || !strings.Contains(stderr, "redirect") || reached {
		t.Errorf("got %v, %q, reached: %v", err, stderr, reached)
	}
}

func writeCA(t *testing.T, server *httptest.Server) {
	t.Helper()
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile("ca.pem", pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFollow prints each entry once, as they come.
func TestFollow(t *testing.T) {
	f := newFakeAPI()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	const one = `{"seq":1,"time":"2027-01-31T12:00:01Z","actor":{"kind":"admin"},"action":"create","resource":"targets","name":"a"}`
	const two = `{"seq":2,"time":"2027-01-31T12:00:01Z","actor":{"kind":"user","name":"root"},"action":"delete","resource":"targets","name":"a"}`
	f.reply(200, `{"audit":[]}`)
	f.reply(200, `{"audit":[`+one+`]}`)
	f.reply(200, `{"audit":[`+one+`,`+two+`]}`)
	f.reply(503, `{"title":"over"}`)
	x := &script{t: t, api: f, now: time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)}
	stdout, stderr, err := x.run([]string{"audit", "--follow", "--address", server.Listener.Addr().String()})
	if err == nil || !strings.Contains(stderr, "over") {
		t.Errorf("got %v, %q", err, stderr)
	}
	if want := "1  2027-01-31 13:00:01  admin  create  targets  a\n2  2027-01-31 13:00:01  user root  delete  targets  a\n"; stdout != want {
		t.Errorf("got\n%swant\n%s", stdout, want)
	}
	log := f.takeLog()
	if want := "since=2027-01-31T12%3A00%3A00Z"; !strings.Contains(log[0], want) || !strings.Contains(log[3], "since=2027-01-31T11%3A59%3A01Z") {
		t.Errorf("asked %q", log)
	}
}

// TestPause ends when its context does.
func TestPause(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pause(ctx, time.Hour); err == nil {
		t.Error("it has waited")
	}
	if err := pause(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}
