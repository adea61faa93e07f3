package inject

import (
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// neutralizeConnection does what reverse_proxy will do, before the credential is written:
// it removes the headers that Connection names. Otherwise `Connection: Authorization`
// from a caller would remove the upstream's credential (RFC 9110 section 7.6.1 lets an
// intermediary remove what Connection lists).
func neutralizeConnection(h http.Header) {
	upgrade := false
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			switch token = strings.Trim(token, " \t"); {
			case token == "":
			case strings.EqualFold(token, "upgrade"):
				upgrade = true
			default:
				h.Del(token)
			}
		}
	}
	delete(h, "Connection")
	if upgrade {
		h["Connection"] = []string{"Upgrade"}
	}
}

// marking puts rr's headers on the response when it begins, in place of whatever the
// upstream sent under their names.
type marking struct {
	*caddyhttp.ResponseWriterWrapper
	x    *exchange.Exchange
	done bool
}

func (m *marking) mark(status int) {
	if m.done || status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	m.done = true
	m.x.Answers.DropForeign(m.Header())
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
