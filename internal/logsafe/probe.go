package logsafe

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// UnsafeLoggers returns the names of the loggers that write requests of srv, with their
// headers and query, to at least one log that does not use the rr encoder. It judges the
// configuration that ctx belongs to, so it can be called while that is being loaded
// (logs are set up before apps). srv may be nil: then access logs are left out.
//
// A log whose level, include or exclude keeps such entries out does not count, nor does
// one that discards them. Custom cores of logs (`core`) cannot be judged.
func UnsafeLoggers(ctx caddy.Context, srv *caddyhttp.Server) []string {
	var found []string
	for _, l := range requestLoggers(srv) {
		core := ctx.Logger(loggerName(l.name + l.below)).Core()
		if core.Enabled(l.level) && !onlySafeEncoders(core) {
			found = append(found, l.name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// requestLogger is a logger that writes requests at up to a level. A module gets the logs
// that accept entries of its own name or of any name below; to get only those that accept
// the name itself, below is a name that no log is about.
type requestLogger struct {
	name, below string
	level       zapcore.Level
}

const itself = ".-"

// requestLoggers lists the loggers of a server, named as caddyhttp.App and
// caddyhttp.ServerLogConfig name them. Failed requests are logged as errors, in the
// access log too.
func requestLoggers(srv *caddyhttp.Server) []requestLogger {
	list := []requestLogger{{"http.handlers", "", zapcore.DebugLevel}} // "upstream roundtrip", "rewrote request"
	add := func(name string, level zapcore.Level) {
		list = append(list, requestLogger{name, itself, level})
	}
	if srv == nil || srv.Logs == nil {
		add("http.log.error", zapcore.ErrorLevel)
		return list
	}
	unmapped := ""
	if srv.Logs.DefaultLoggerName != "" {
		unmapped = "." + srv.Logs.DefaultLoggerName
	}
	add("http.log.error"+unmapped, zapcore.ErrorLevel)
	if !srv.Logs.SkipUnmappedHosts {
		add("http.log.access"+unmapped, zapcore.ErrorLevel)
	}
	for _, names := range srv.Logs.LoggerNames {
		for _, name := range names {
			if name != "" {
				name = "." + name
			}
			add("http.log.error"+name, zapcore.ErrorLevel)
			add("http.log.access"+name, zapcore.ErrorLevel)
		}
	}
	if srv.Logs.Trace {
		add("http.log.trace", zapcore.DebugLevel)
	}
	return list
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
