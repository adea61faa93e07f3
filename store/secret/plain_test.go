package secret

import (
	"context"
	"strings"
	"testing"
)

// TestPlainTextIsTheValue: also where an Expander is around, and whoever wants to know of
// secrets is told.
func TestPlainTextIsTheValue(t *testing.T) {
	t.Setenv("RR_TEST_KEY", "from-env")
	var told []string
	p := &Plain{Resolved: func(value string) { told = append(told, value) }}
	around := new(Expander).Context(t.Context())
	texts := []string{"{env.RR_TEST_KEY}", "{file./etc/hostname}", "x{env.RR_TEST_KEY}y", "s3cret"}
	for _, ctx := range []context.Context{p.Context(around), context.WithValue(around, expanderKey{}, p)} {
		told = nil
		for _, in := range texts {
			v, err := String(in).Resolve(ctx)
			w, err2 := Template(in).Resolve(ctx)
			if err != nil || err2 != nil || v.Get() != in || w.Get() != in {
				t.Errorf("%q was expanded to %q and %q (%v, %v)", in, v.Get(), w.Get(), err, err2)
			}
		}
		if want := 2 * len(texts); len(told) != want || told[0] != texts[0] {
			t.Errorf("%d secrets were told, want %d", len(told), want)
		}
	}
	if v, err := String("{env.RR_TEST_KEY}").Resolve(new(Plain).Context(around)); err != nil || v.Get() != "{env.RR_TEST_KEY}" {
		t.Errorf("nobody wants to know: %v", err)
	}
	if _, err := String("").Resolve(p.Context(around)); err == nil || strings.Contains(err.Error(), "env") {
		t.Errorf("an empty secret: %v", err)
	}
	// an Expander within is the host's own doing
	if v, err := String("{env.RR_TEST_KEY}").Resolve(new(Expander).Context(p.Context(around))); err != nil || v.Get() != "from-env" {
		t.Errorf("a configuration within: %v", err)
	}
}
