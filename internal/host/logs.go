package host

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/logsafe"
)

// hidden are the headers that Caddy itself keeps out of its logs.
var hidden = []string{"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"}

// warned are the servers whose logs have been complained of.
var warned sync.Map

// CheckLogs warns, once per server, if the logs of the server that ctx is of would show
// credentials in these headers or, with query, in the request's URI.
func CheckLogs(ctx caddy.Context, log *zap.Logger, headers []string, query bool) {
	srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	var shown []string
	for _, name := range headers {
		name = http.CanonicalHeaderKey(name)
		if !slices.Contains(hidden, name) || srv.Logs != nil && srv.Logs.ShouldLogCredentials {
			shown = append(shown, name)
		}
	}
	if len(shown) == 0 && !query {
		return
	}
	loggers := logsafe.UnsafeLoggers(ctx, srv)
	if len(loggers) == 0 {
		return
	}
	if _, again := warned.LoadOrStore(srv, true); again {
		return
	}
	context.AfterFunc(ctx, func() { warned.Delete(srv) })
	log.Warn("logs would show callers' credentials; use the log encoder rr: `log { format rr }` in the global options and in the site",
		zap.Strings("loggers", loggers), zap.String("headers", strings.Join(shown, ", ")), zap.Bool("query", query))
}
