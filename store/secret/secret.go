// Package secret is the type for values that must never be shown: keys, passwords,
// tokens. A String prints as REDACTED however it is formatted or logged, and it is
// expanded ({env.X}, {file./abs}) only when the host that loads the configuration hands
// down an Expander; without one the text is the value. That is what keeps records made
// through the API from reading the gateway's environment.
//
// The package imports nothing of Caddy.
package secret

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Redacted is what a secret shows of itself.
const Redacted = "REDACTED"

// ErrEmpty says that a secret has no value. An empty secret is never a value: it is
// refused when the configuration loads.
var ErrEmpty = errors.New("the secret is empty")

// String is a secret as written in a configuration: one placeholder, {env.NAME} or
// {file./absolute/path}, or a literal. It encodes to JSON as written (an adapted
// configuration has to hold it) and formats as REDACTED.
type String string

// String implements fmt.Stringer.
func (String) String() string { return Redacted }

// GoString implements fmt.GoStringer, for %#v.
func (String) GoString() string { return Redacted }

// LogValue implements slog.LogValuer.
func (String) LogValue() slog.Value { return slog.StringValue(Redacted) }

// Resolve returns the secret's value. With an Expander in ctx a placeholder is replaced
// by what it names, and literals are reported to it; without one the text is the value.
// An empty value is ErrEmpty.
func (s String) Resolve(ctx context.Context) (*Value, error) {
	if s == "" {
		return nil, ErrEmpty
	}
	e := expander(ctx)
	if e == nil {
		return value(ctx, string(s)), nil
	}
	return e.expand(string(s))
}

// Template is a text that may hold several placeholders among literal parts, all
// replaced once when the configuration loads, never per request.
type Template string

// String implements fmt.Stringer.
func (Template) String() string { return Redacted }

// GoString implements fmt.GoStringer, for %#v.
func (Template) GoString() string { return Redacted }

// LogValue implements slog.LogValuer.
func (Template) LogValue() slog.Value { return slog.StringValue(Redacted) }

// Resolve is String.Resolve for a text with any number of placeholders.
func (t Template) Resolve(ctx context.Context) (*Value, error) {
	if t == "" {
		return nil, ErrEmpty
	}
	e := expander(ctx)
	if e == nil {
		return value(ctx, string(t)), nil
	}
	return e.expandAll(string(t))
}

// Value is a resolved secret. It may change while it is in use (a file that was
// rotated); Get always returns the current one. Values are safe for concurrent use.
type Value struct {
	current atomic.Pointer[string]

	mu       sync.Mutex
	onChange []func(string)
}

// Static returns a value that never changes.
func Static(s string) *Value {
	v := new(Value)
	v.current.Store(&s)
	return v
}

// Get returns the secret itself.
func (v *Value) Get() string { return *v.current.Load() }

// OnChange has f called with the value now and with each new value later. Calls are
// made one after the other.
func (v *Value) OnChange(f func(string)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.onChange = append(slices.Clip(v.onChange), f)
	f(v.Get())
}

// set replaces the value and tells who asked; the same value again is no change.
func (v *Value) set(s string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if subtle.ConstantTimeCompare([]byte(v.Get()), []byte(s)) == 1 {
		return
	}
	v.current.Store(&s)
	for _, f := range v.onChange {
		f(s)
	}
}

// String implements fmt.Stringer.
func (*Value) String() string { return Redacted }

// GoString implements fmt.GoStringer, for %#v.
func (*Value) GoString() string { return Redacted }

// LogValue implements slog.LogValuer.
func (*Value) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalJSON never shows the value: a resolved secret belongs in no document.
func (*Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// Equal compares in constant time (for texts of equal length).
func Equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// placeholder is the one a secret consists of, without braces.
func placeholder(s string) (key string, ok bool) {
	if len(s) < 3 || s[0] != '{' || s[len(s)-1] != '}' {
		return "", false
	}
	key = s[1 : len(s)-1]
	return key, !strings.ContainsAny(key, "{}")
}

// IsPlaceholder reports whether s is written as one placeholder and nothing else.
func IsPlaceholder(s string) bool {
	_, ok := placeholder(s)
	return ok
}

// errForm explains what a placeholder in a secret may look like.
func errForm(key string) error {
	if strings.Contains(key, "http.request.uri.path.file.") {
		return errors.New("{file.NAME} needs an absolute path, as in {file./run/secrets/NAME} (a relative one is read as a part of the request's path)")
	}
	return fmt.Errorf("unknown placeholder {%s}: a secret is {env.NAME} or {file./absolute/path}", key)
}
