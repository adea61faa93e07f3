package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Try sends a GET for a path, with query or not, to the gate's target, with the target
// credential, as a request of no caller, and returns the answer's status. The rules are not
// asked. The body is thrown away.
func (g *Gate) Try(ctx context.Context, path string) (status int, err error) {
	if !strings.HasPrefix(path, "/") {
		return 0, errors.New("the path to try does not begin with a slash")
	}
	x, _ := exchange.Begin(ctx)
	req, err := http.NewRequestWithContext(x, http.MethodGet, "http://target"+path, nil)
	if err != nil {
		return 0, err
	}
	canonical, err := rule.CanonicalPath(req.URL, false)
	if err != nil {
		return 0, err
	}
	x.Input = rule.Input{Request: req, Method: req.Method, Path: canonical}
	out, err := g.prepare(x, req)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", g.label(), err)
	}
	res, cancel, err := g.send(x, g.target.transport, req, out)
	if cancel != nil {
		defer cancel()
	}
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxUnwatched)
	return res.StatusCode, nil
}
