package host

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// Refuse answers a request with a refusal and writes the one log line that has the real
// reason. proxy and credential are what is known of them, else empty.
func Refuse(w http.ResponseWriter, r *http.Request, a *exchange.Answers, log *zap.Logger, ref *exchange.Refusal, proxy, credential string) error {
	if c := log.Check(level(ref), "refused"); c != nil {
		clientIP, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
		c.Write(
			zap.Int("status", ref.Status),
			zap.String("code", ref.Code),
			zap.NamedError("reason", ref.Reason),
			zap.String("proxy", proxy),
			zap.String("credential", credential),
			zap.String("client_ip", clientIP),
			zap.String("method", r.Method),
			zap.String("path", r.URL.EscapedPath()),
		)
	}
	if !a.Pass {
		return a.Write(w, r, ref)
	}
	a.SetHeaders(w.Header(), ref)
	exchange.CloseUnread(w.Header(), r)
	// the error's text ends up in {http.error.message}: the code and nothing more
	return caddyhttp.Error(ref.Status, errors.New(ref.Code))
}

// level is error for what the operator has to mend, info for what a caller did.
func level(ref *exchange.Refusal) zapcore.Level {
	if ref.Status >= 500 || ref.Code == exchange.CodeNotVerified {
		return zap.ErrorLevel
	}
	return zap.InfoLevel
}

// LogFields adds rr's fields to the request's access-log entry, if the server writes one.
func LogFields(r *http.Request, m zapcore.ObjectMarshaler) {
	if srv, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && srv.Logs == nil {
		return
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(zap.Inline(m))
	}
}
