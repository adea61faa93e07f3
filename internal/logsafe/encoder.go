// Package logsafe is the log encoder rr, which keeps credentials out of Caddy's logs, and
// the check whether a configuration's logs use it. What counts as a credential is package
// redact's knowledge.
package logsafe

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-rr/caddy-rr/internal/redact"
)

func init() {
	caddy.RegisterModule(new(LogEncoder))
}

// LogEncoder takes credentials out of log entries before another encoder writes them: by
// the names of headers, query parameters and cookies that rr reads or injects, by names
// that are credentials everywhere (Authorization, access_token and such), and by the
// values of the secrets that are in use. It looks into nested objects, arrays, arbitrary
// structures, error texts, stack traces and the message.
type LogEncoder struct {
	// The encoder that writes the entries. Any log encoder will do, also one that wraps
	// others. Its own additions to an entry are searched for the values of secrets only, so
	// put a filter or append encoder around this one rather than inside. Default: json.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	zapcore.Encoder `json:"-"`

	wrapped zapcore.Encoder
}

// CaddyModule returns the Caddy module information.
func (*LogEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.encoders.rr",
		New: func() caddy.Module { return new(LogEncoder) },
	}
}

// Provision loads the wrapped encoder.
func (l *LogEncoder) Provision(ctx caddy.Context) error {
	if l.WrappedRaw == nil {
		plain := new(logging.JSONEncoder)
		if err := plain.Provision(ctx); err != nil {
			return fmt.Errorf("log encoder rr: setting up json: %w", err)
		}
		l.wrapped = plain
	} else {
		guest, err := ctx.LoadModule(l, "WrappedRaw")
		if err != nil {
			return fmt.Errorf("log encoder rr: loading the wrapped encoder: %w", err)
		}
		encoder, ok := guest.(zapcore.Encoder)
		if !ok {
			return errors.New("log encoder rr: wrap is not a log encoder; say {\"format\": \"json\"} or \"console\"")
		}
		l.wrapped = encoder
	}
	l.Encoder = newSafeEncoder(l.wrapped, redact.Default())
	return nil
}

// ConfigureDefaultFormat implements caddy.ConfiguresFormatterDefault for a wrapped encoder
// that has a default of its own.
func (l *LogEncoder) ConfigureDefaultFormat(w caddy.WriterOpener) error {
	if inner, ok := l.wrapped.(caddy.ConfiguresFormatterDefault); ok {
		return inner.ConfigureDefaultFormat(w)
	}
	return nil
}

// EncodeEntry implements zapcore.Encoder.
func (e *safeEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	entry.Message = e.names.Text(entry.Message)
	entry.Stack = e.names.Text(entry.Stack)
	if len(e.later)+len(fields) > 0 {
		all := fieldLists.Get().(*fieldList)
		defer all.free()
		all.earlier, all.then, all.fields, all.names = e.later, e.then, fields, e.names
		fields = all.inline[:]
	}
	buf, err := e.wrapped.EncodeEntry(entry, fields)
	if err != nil {
		return nil, fmt.Errorf("log encoder rr: %w", err)
	}
	line := buf.Bytes()
	if clean := e.names.Line(line); len(line) > 0 && &clean[0] != &line[0] {
		buf.Reset()
		_, _ = buf.Write(clean) // never fails
	}
	return buf, nil
}

// fieldList hands all fields of an entry to the wrapped encoder as one field, which writes
// them through a scrubber.
type fieldList struct {
	scrubber
	earlier, fields []zapcore.Field
	then            *redact.Names // for those of earlier
	inline          [1]zapcore.Field
}

var fieldLists = sync.Pool{New: func() any {
	l := new(fieldList)
	l.inline[0] = zapcore.Field{Type: zapcore.InlineMarshalerType, Interface: l}
	return l
}}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l *fieldList) MarshalLogObject(to zapcore.ObjectEncoder) error {
	l.ObjectEncoder = to
	names := l.names
	l.names = l.then
	for _, field := range l.earlier {
		field.AddTo(&l.scrubber)
	}
	l.names = names
	for _, field := range l.fields {
		field.AddTo(&l.scrubber)
	}
	return nil
}

func (l *fieldList) free() {
	l.earlier, l.then, l.fields, l.scrubber = nil, nil, nil, scrubber{}
	fieldLists.Put(l)
}

// Interface guards
var (
	_ caddy.Provisioner                = (*LogEncoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*LogEncoder)(nil)
	_ zapcore.Encoder                  = (*LogEncoder)(nil)
	_ zapcore.Encoder                  = (*safeEncoder)(nil)
)
