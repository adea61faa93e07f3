package rrtest

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(logWriter{})
}

// logged holds all log output of the Caddy that runs in this process.
var logged logBuffer

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Reset()
}

// logWriter is the module caddy.logging.writers.rrtest_memory, which keeps logs in memory.
type logWriter struct{}

// CaddyModule returns the Caddy module information.
func (logWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.rrtest_memory", New: func() caddy.Module { return new(logWriter) }}
}

func (logWriter) String() string { return "rrtest_memory" }

// WriterKey is the same for all logs, so that they and all reloads share one buffer.
func (logWriter) WriterKey() string { return "rrtest_memory" }

// OpenWriter implements caddy.WriterOpener.
func (logWriter) OpenWriter() (io.WriteCloser, error) { return unclosed{&logged}, nil }

type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// Logs returns everything logged since Start, by all logs, at all levels.
func (c *Caddy) Logs() string { return logged.String() }

// LogEntries returns the log lines that are JSON objects, oldest first.
func (c *Caddy) LogEntries() []map[string]any {
	var entries []map[string]any
	for line := range strings.Lines(logged.String()) {
		var e map[string]any
		if json.Unmarshal([]byte(line), &e) == nil {
			entries = append(entries, e)
		}
	}
	return entries
}

// WaitLog waits for text in the log: access logs are written after the answer is out.
func (c *Caddy) WaitLog(text string) {
	c.t.Helper()
	Eventually(c.t, "the log has "+text, func() bool { return strings.Contains(logged.String(), text) })
}

// Interface guards
var (
	_ caddy.Module       = logWriter{}
	_ caddy.WriterOpener = logWriter{}
)
