package oauth

import (
	"crypto/sha256"
	"fmt"
	"testing"
)

// TestKnownTokensAreBounded replaces a refresh token again and again: the first, which
// stands in the configuration, and the latest are recognised.
func TestKnownTokensAreBounded(t *testing.T) {
	c := NewChain(Memory(&Grant{Refresh: "0"}))
	for i := range maxKnown + 10 {
		c.remember(fmt.Sprint(i))
	}
	if len(c.known) != maxKnown || c.known[0] != sha256.Sum256([]byte("0")) || c.known[maxKnown-1] != sha256.Sum256(fmt.Append(nil, maxKnown+9)) {
		t.Errorf("%d tokens are recognised", len(c.known))
	}
}
