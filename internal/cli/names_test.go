package cli

import (
	"fmt"
	"testing"
)

// TestNamesOfATableAreBounded: when many are known, an id stands for itself.
func TestNamesOfATableAreBounded(t *testing.T) {
	known := map[string]string{}
	for i := range mostNames {
		known[fmt.Sprint(i)] = "name"
	}
	s := new(session) // without an API to ask
	if got := s.nameOf(t.Context(), nil, credentials, "another", known); got != "another" || len(known) != mostNames {
		t.Errorf("%q, %d are known", got, len(known))
	}
	if got := s.nameOf(t.Context(), nil, credentials, "7", known); got != "name" {
		t.Errorf("one that is known is %q", got)
	}
}
