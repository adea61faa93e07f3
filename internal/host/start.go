package host

import (
	"context"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zapcore"
)

// loaderKey is where guests find the loader that loads them.
type loaderKey struct{}

func loaderOf(ctx context.Context) *Loader {
	l, _ := ctx.Value(loaderKey{}).(*Loader)
	return l
}

// OnStart has f called once the configuration of the guest that ctx was made for is in
// force. Work in the background, disk and network wait for that: `caddy validate`
// provisions a configuration too, and never starts it.
func OnStart(ctx context.Context, f func()) {
	l := loaderOf(ctx)
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts = append(l.starts, f)
}

// Starting reports whether anything waits for Start.
func (l *Loader) Starting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.starts) > 0
}

// Start tells the guests that the configuration is in force.
func (l *Loader) Start() {
	l.mu.Lock()
	starts := l.starts
	l.starts = nil
	l.mu.Unlock()
	for _, f := range starts {
		f()
	}
}

// AllowEgress lets guests reach addresses that are otherwise closed to them. It has to be
// called before they are loaded.
func (l *Loader) AllowEgress(prefixes []netip.Prefix) { l.egress = prefixes }

// Egress are the addresses that the guest that ctx was made for may reach in any case
// when it fetches something for itself.
func Egress(ctx context.Context) []netip.Prefix {
	if l := loaderOf(ctx); l != nil {
		return l.egress
	}
	return nil
}

// ProcessLog writes to whatever Caddy's own log is at that time, for what outlives the
// configuration that began it.
func ProcessLog(name string) zapcore.Core { return processLog{name: name} }

type processLog struct {
	name   string
	fields []zapcore.Field
}

func (p processLog) core() zapcore.Core { return caddy.Log().Core() }

// Enabled implements zapcore.LevelEnabler.
func (p processLog) Enabled(l zapcore.Level) bool { return p.core().Enabled(l) }

// With implements zapcore.Core.
func (p processLog) With(fields []zapcore.Field) zapcore.Core {
	return processLog{p.name, append(p.fields[:len(p.fields):len(p.fields)], fields...)}
}

// Check implements zapcore.Core.
func (p processLog) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if p.Enabled(e.Level) {
		return ce.AddCore(e, p)
	}
	return ce
}

// Write implements zapcore.Core.
func (p processLog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.LoggerName = p.name
	return p.core().With(p.fields).Write(e, fields)
}

// Sync implements zapcore.Core.
func (p processLog) Sync() error { return p.core().Sync() }
