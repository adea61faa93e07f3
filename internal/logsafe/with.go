package logsafe

import (
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-rr/caddy-rr/internal/redact"
)

// safeEncoder is the encoder itself. Fields that are added to it directly (of loggers made
// with With, or by an encoder around it) go through a scrubber into wrapped.
//
// What cannot change any more is kept and only encoded with an entry. That is for
// reverse_proxy, which for every request makes a logger with the request that it has sent,
// headers and all, and at the usual levels never writes a line with it: encoding that at
// once takes about as long as all that rr does for the request. The line hides what was
// hidden when the field was added: a stream may be logged long after the configuration that
// told the name of a header has ended.
type safeEncoder struct {
	names   *redact.Names
	wrapped zapcore.Encoder
	own     bool // wrapped is not shared with the encoder that this one is a clone of
	later   []zapcore.Field
	then    *redact.Names // the names when the fields for later were added
}

func newSafeEncoder(wrapped zapcore.Encoder, names *redact.Names) *safeEncoder {
	return &safeEncoder{names: names, wrapped: wrapped}
}

// Clone implements zapcore.Encoder.
func (e *safeEncoder) Clone() zapcore.Encoder {
	later := make([]zapcore.Field, len(e.later), len(e.later)+3) // as many as reverse_proxy adds
	copy(later, e.later)
	return &safeEncoder{names: e.names, wrapped: e.wrapped, later: later, then: e.then}
}

// now is where a field goes that has to be encoded at once, after those before it.
func (e *safeEncoder) now() *scrubber {
	if !e.own {
		e.wrapped, e.own = e.wrapped.Clone(), true
	}
	s := &scrubber{ObjectEncoder: e.wrapped, names: e.then}
	for _, field := range e.later {
		field.AddTo(s)
	}
	e.later = nil
	s.names = e.names
	return s
}

func (e *safeEncoder) put(field zapcore.Field) {
	if then := e.names.AsNow(); e.then != then {
		if len(e.later) > 0 {
			e.now()
		}
		e.then = then
	}
	e.later = append(e.later, field)
}

// sent reports whether the value is a request as reverse_proxy has sent it, which nobody
// changes afterwards. Other requests may still be on their way through handlers.
func sent(value zapcore.ObjectMarshaler) bool {
	r, ok := value.(caddyhttp.LoggableHTTPRequest)
	if !ok || r.Request == nil {
		return false
	}
	_, ok = reverseproxy.GetDialInfo(r.Context())
	return ok
}

// AddObject implements zapcore.ObjectEncoder.
func (e *safeEncoder) AddObject(key string, value zapcore.ObjectMarshaler) error {
	if sent(value) {
		e.put(zap.Object(key, value))
		return nil
	}
	return e.now().AddObject(key, value)
}

// The others implement zapcore.ObjectEncoder too: first what may be changed by somebody
// else after the call, then values.

func (e *safeEncoder) AddArray(key string, value zapcore.ArrayMarshaler) error {
	return e.now().AddArray(key, value)
}
func (e *safeEncoder) AddReflected(key string, value any) error {
	return e.now().AddReflected(key, value)
}
func (e *safeEncoder) AddBinary(key string, value []byte)     { e.now().AddBinary(key, value) }
func (e *safeEncoder) AddByteString(key string, value []byte) { e.now().AddByteString(key, value) }
func (e *safeEncoder) OpenNamespace(key string)               { e.now().OpenNamespace(key) }

func (e *safeEncoder) AddBool(key string, value bool)              { e.put(zap.Bool(key, value)) }
func (e *safeEncoder) AddComplex128(key string, value complex128)  { e.put(zap.Complex128(key, value)) }
func (e *safeEncoder) AddComplex64(key string, value complex64)    { e.put(zap.Complex64(key, value)) }
func (e *safeEncoder) AddDuration(key string, value time.Duration) { e.put(zap.Duration(key, value)) }
func (e *safeEncoder) AddFloat64(key string, value float64)        { e.put(zap.Float64(key, value)) }
func (e *safeEncoder) AddFloat32(key string, value float32)        { e.put(zap.Float32(key, value)) }
func (e *safeEncoder) AddInt(key string, value int)                { e.put(zap.Int(key, value)) }
func (e *safeEncoder) AddInt64(key string, value int64)            { e.put(zap.Int64(key, value)) }
func (e *safeEncoder) AddInt32(key string, value int32)            { e.put(zap.Int32(key, value)) }
func (e *safeEncoder) AddInt16(key string, value int16)            { e.put(zap.Int16(key, value)) }
func (e *safeEncoder) AddInt8(key string, value int8)              { e.put(zap.Int8(key, value)) }
func (e *safeEncoder) AddString(key, value string)                 { e.put(zap.String(key, value)) }
func (e *safeEncoder) AddTime(key string, value time.Time)         { e.put(zap.Time(key, value)) }
func (e *safeEncoder) AddUint(key string, value uint)              { e.put(zap.Uint(key, value)) }
func (e *safeEncoder) AddUint64(key string, value uint64)          { e.put(zap.Uint64(key, value)) }
func (e *safeEncoder) AddUint32(key string, value uint32)          { e.put(zap.Uint32(key, value)) }
func (e *safeEncoder) AddUint16(key string, value uint16)          { e.put(zap.Uint16(key, value)) }
func (e *safeEncoder) AddUint8(key string, value uint8)            { e.put(zap.Uint8(key, value)) }
func (e *safeEncoder) AddUintptr(key string, value uintptr)        { e.put(zap.Uintptr(key, value)) }
