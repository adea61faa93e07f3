package jwks

import (
	"fmt"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// TestLogLinesAreBounded: an issuer with many keys does not fill the log.
func TestLogLinesAreBounded(t *testing.T) {
	var kids []string
	for i := range maxNamed + 5 {
		kids = append(kids, fmt.Sprint("key-", i))
	}
	set, _, err := jose.ParseSet([]byte(keySet(kids...)))
	if err != nil {
		t.Fatal(err)
	}
	if list := names(set, nil); len(list) != maxNamed+1 || list[maxNamed] != "…" {
		t.Errorf("%d names: %q", len(list), list)
	}
}
