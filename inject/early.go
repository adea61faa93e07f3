package inject

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// marking puts rr's headers on the response when it begins, in place of whatever the
// upstream sent under their names.
type marking struct {
	*caddyhttp.ResponseWriterWrapper
	x     *exchange.Exchange
	slots *slots
	done  bool
}

func (m *marking) mark(status int) {
	if m.done || status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	m.done = true
	m.x.Answers.DropForeign(m.Header())
	m.slots.conceal(m.Header())
	m.x.Grant(m.Header())
}

// WriteHeader implements http.ResponseWriter.
func (m *marking) WriteHeader(status int) {
	m.mark(status)
	m.ResponseWriterWrapper.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (m *marking) Write(p []byte) (int, error) {
	m.mark(http.StatusOK)
	return m.ResponseWriterWrapper.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (m *marking) ReadFrom(r io.Reader) (int64, error) {
	m.mark(http.StatusOK)
	return m.ResponseWriterWrapper.ReadFrom(r)
}
