package secret

import "context"

// Plain takes the place of an Expander where texts are values, whatever they look like:
// in records made through the API. Whoever hands it down in a context hides the Expander
// of a context around it, so that nothing in a record is ever expanded.
type Plain struct {
	// Resolved is called with each secret, for keeping them out of logs, if set.
	Resolved func(value string)
}

// Key returns the key and value by which a context carries p: the key of Expanders.
func (p *Plain) Key() (key, value any) { return expanderKey{}, p }

// Context returns ctx with p in it.
func (p *Plain) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, expanderKey{}, p)
}

// value is the value of a text without an Expander, of which a Plain in ctx is told.
func value(ctx context.Context, text string) *Value {
	if p, ok := ctx.Value(expanderKey{}).(*Plain); ok && p.Resolved != nil {
		p.Resolved(text)
	}
	return Static(text)
}
