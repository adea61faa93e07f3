package logsafe

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-rr/caddy-rr/internal/redact"
)

// scrubber passes the fields of a log entry on to another encoder, without credentials.
// It is the object encoder, the array encoder and both marshalers at once, so that going
// into an object costs no allocation: it tells the inner encoder that it is the object,
// is called back with the encoder for it, and tells the object that it is that one. It
// serves one goroutine.
//
// What it does not override (numbers, times) holds no credential and passes as it is.
type scrubber struct {
	zapcore.ObjectEncoder
	zapcore.ArrayEncoder
	names *redact.Names

	object zapcore.ObjectMarshaler // to be marshaled when called back
	array  zapcore.ArrayMarshaler  // likewise
	uri    bool                    // the strings of the current array are URIs
}

// text is what may be shown of a string in the field called key.
func (s *scrubber) text(key, value string) string {
	switch {
	case value == "":
		return value
	case s.names.Field(key):
		return redact.Redacted
	case redact.IsURIKey(key):
		return s.names.URI(value)
	}
	return s.names.Text(value)
}

// AddString implements zapcore.ObjectEncoder.
func (s *scrubber) AddString(key, value string) {
	s.ObjectEncoder.AddString(key, s.text(key, value))
}

// AddByteString implements zapcore.ObjectEncoder.
func (s *scrubber) AddByteString(key string, value []byte) {
	s.ObjectEncoder.AddByteString(key, []byte(s.text(key, string(value))))
}

// AddBinary implements zapcore.ObjectEncoder.
func (s *scrubber) AddBinary(key string, value []byte) {
	s.ObjectEncoder.AddBinary(key, []byte(s.text(key, string(value))))
}

// AddArray implements zapcore.ObjectEncoder.
func (s *scrubber) AddArray(key string, value zapcore.ArrayMarshaler) error {
	if lines, ok := value.(caddyhttp.LoggableStringArray); ok {
		// a header: keep the type, because Caddy's log filters look for it
		return s.ObjectEncoder.AddArray(key, s.lines(key, lines, value))
	}
	if s.names.Field(key) {
		s.ObjectEncoder.AddString(key, redact.Redacted)
		return nil
	}
	outer := s.uri
	s.array, s.uri = value, redact.IsURIKey(key)
	err := s.ObjectEncoder.AddArray(key, s)
	s.uri = outer
	return err
}

// lines is text for the lines of a header; it returns same if nothing has to change. The
// slice is the request's own, so it is copied otherwise.
func (s *scrubber) lines(key string, lines caddyhttp.LoggableStringArray, same zapcore.ArrayMarshaler) zapcore.ArrayMarshaler {
	if s.names.Field(key) {
		return caddyhttp.LoggableStringArray{redact.Redacted}
	}
	var copied caddyhttp.LoggableStringArray
	for i, line := range lines {
		clean := s.text(key, line)
		if clean == line {
			continue
		}
		if copied == nil {
			copied = slices.Clone(lines)
		}
		copied[i] = clean
	}
	if copied == nil {
		return same
	}
	return copied
}

// AddObject implements zapcore.ObjectEncoder.
func (s *scrubber) AddObject(key string, value zapcore.ObjectMarshaler) error {
	if s.names.Field(key) {
		s.ObjectEncoder.AddString(key, redact.Redacted)
		return nil
	}
	s.object = value
	return s.ObjectEncoder.AddObject(key, s)
}

// AddReflected implements zapcore.ObjectEncoder.
func (s *scrubber) AddReflected(key string, value any) error {
	switch v := value.(type) {
	case nil:
	case *encoderProbe:
		v.safe = true
		return nil
	case string:
		s.AddString(key, v)
		return nil
	default:
		if s.names.Field(key) {
			s.ObjectEncoder.AddString(key, redact.Redacted)
			return nil
		}
	}
	clean, err := s.names.Value(value)
	if err != nil {
		return err
	}
	return s.ObjectEncoder.AddReflected(key, clean)
}

// MarshalLogObject implements zapcore.ObjectMarshaler: the call back for an object.
func (s *scrubber) MarshalLogObject(to zapcore.ObjectEncoder) error {
	outer, object := s.ObjectEncoder, s.object
	s.ObjectEncoder = to
	err := object.MarshalLogObject(s)
	s.ObjectEncoder = outer
	return err
}

// MarshalLogArray implements zapcore.ArrayMarshaler: the call back for an array.
func (s *scrubber) MarshalLogArray(to zapcore.ArrayEncoder) error {
	outer, array := s.ArrayEncoder, s.array
	s.ArrayEncoder = to
	err := array.MarshalLogArray(s)
	s.ArrayEncoder = outer
	return err
}

// element is what may be shown of a string in an array.
func (s *scrubber) element(value string) string {
	if s.uri {
		return s.names.URI(value)
	}
	return s.names.Text(value)
}

// AppendString implements zapcore.PrimitiveArrayEncoder.
func (s *scrubber) AppendString(value string) { s.ArrayEncoder.AppendString(s.element(value)) }

// AppendByteString implements zapcore.PrimitiveArrayEncoder.
func (s *scrubber) AppendByteString(value []byte) {
	s.ArrayEncoder.AppendByteString([]byte(s.element(string(value))))
}

// AppendArray implements zapcore.ArrayEncoder.
func (s *scrubber) AppendArray(value zapcore.ArrayMarshaler) error {
	s.array = value
	return s.ArrayEncoder.AppendArray(s)
}

// AppendObject implements zapcore.ArrayEncoder.
func (s *scrubber) AppendObject(value zapcore.ObjectMarshaler) error {
	s.object = value
	return s.ArrayEncoder.AppendObject(s)
}

// AppendReflected implements zapcore.ArrayEncoder.
func (s *scrubber) AppendReflected(value any) error {
	clean, err := s.names.Value(value)
	if err != nil {
		return err
	}
	return s.ArrayEncoder.AppendReflected(clean)
}
