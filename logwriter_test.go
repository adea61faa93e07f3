package rr_test

import (
	"fmt"
	"io"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(new(bufferWriter)) }

// bufferWriter is the log output of the tests: `output rrtest <id>`.
type bufferWriter struct {
	ID string `json:"id,omitempty"`
}

func (*bufferWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.rrtest", New: func() caddy.Module { return new(bufferWriter) }}
}

func (w *bufferWriter) String() string    { return "rrtest:" + w.ID }
func (w *bufferWriter) WriterKey() string { return "rrtest:" + w.ID }

func (w *bufferWriter) OpenWriter() (io.WriteCloser, error) {
	b, ok := logBuffers.Load(w.ID)
	if !ok {
		return nil, fmt.Errorf("no log buffer %q", w.ID)
	}
	return b.(*logBuffer), nil
}

func (w *bufferWriter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&w.ID) {
		return d.ArgErr()
	}
	return nil
}
