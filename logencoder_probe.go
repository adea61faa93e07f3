package rr

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// unsafeLoggers returns the names of the loggers that write requests of srv, with their
// headers and query, to at least one log that does not use the rr encoder. It judges the
// configuration that ctx belongs to, so it can be called while that is being loaded
// (logs are set up before apps). srv may be nil: then access logs are left out.
//
// A log whose level, include or exclude keeps such entries out does not count, nor does
// one that discards them. Custom cores of logs (`core`) cannot be judged.
func unsafeLoggers(ctx caddy.Context, srv *caddyhttp.Server) []string {
	var found []string
	for _, l := range requestLoggers(srv) {
		// A module of the logger's name gets the logs that accept entries of that name.
		core := ctx.Logger(loggerName(l.name)).Core()
		if core.Enabled(l.level) && !onlySafeEncoders(core) {
			found = append(found, l.name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// requestLogger is a logger that writes requests at up to a level.
type requestLogger struct {
	name  string
	level zapcore.Level
}

// requestLoggers lists the loggers of a server, named as caddyhttp.App and
// caddyhttp.ServerLogConfig name them.
func requestLoggers(srv *caddyhttp.Server) []requestLogger {
	list := []requestLogger{
		{"http.handlers", zapcore.DebugLevel}, // "upstream roundtrip", "rewrote request"
	}
	if srv == nil || srv.Logs == nil {
		return append(list, requestLogger{"http.log.error", zapcore.ErrorLevel})
	}
	// failed requests are logged as errors, in the access log too
	for _, name := range siteLoggers(srv.Logs) {
		list = append(list,
			requestLogger{"http.log.access" + name, zapcore.ErrorLevel},
			requestLogger{"http.log.error" + name, zapcore.ErrorLevel})
	}
	if srv.Logs.Trace {
		list = append(list, requestLogger{"http.log.trace", zapcore.DebugLevel})
	}
	return list
}

// siteLoggers lists what comes behind the names of the loggers of a server.
func siteLoggers(logs *caddyhttp.ServerLogConfig) []string {
	names := []string{""}
	if logs.DefaultLoggerName != "" {
		names[0] = "." + logs.DefaultLoggerName
	}
	for _, of := range logs.LoggerNames {
		for _, name := range of {
			if name != "" {
				names = append(names, "."+name)
			}
		}
	}
	return names
}

// loggerName is a caddy.Module for the sake of caddy.Context.Logger, which takes a
// logger's name from it.
type loggerName string

// CaddyModule implements caddy.Module.
func (n loggerName) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: caddy.ModuleID(n), New: func() caddy.Module { return n }}
}

// encoderProbe is a log field that a safe encoder recognises, alone or inside others. It
// is added to a copy of the encoder that is thrown away, so it is written nowhere.
type encoderProbe struct{ safe bool }

// onlySafeEncoders reports whether every encoder behind core is the rr encoder or has it
// inside.
func onlySafeEncoders(core zapcore.Core) bool {
	all := true
	ask := zapcore.ObjectMarshalerFunc(func(encoder zapcore.ObjectEncoder) error {
		probe := new(encoderProbe)
		err := encoder.AddReflected("rr_probe", probe)
		all = all && probe.safe
		return err
	})
	core.With([]zapcore.Field{zap.Inline(ask)})
	return all
}
