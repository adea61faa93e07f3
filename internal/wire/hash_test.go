package wire

import (
	"context"
	"errors"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

// TestNobodyWaitsLongForAHash: when too many wait already it is told at once.
func TestNobodyWaitsLongForAHash(t *testing.T) {
	body := []byte(`{"credentialType":"proxy","credentialAuthType":"basic","credentialName":"c","credentialSecret":{"username":"u","password":"a-password"}}`)
	for range maxHashing {
		queued <- struct{}{}
	}
	c, _, err := DecodeCredential(body, nil)
	if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) || c != nil {
		t.Errorf("got %v, %v", c, err)
	}
	for range maxHashing {
		<-queued
	}
	if c, _, err = DecodeCredential(body, nil); err != nil || c.Side != store.ProxySide {
		t.Errorf("got %v, %v", c, err)
	}
	if len(queued) != 0 || len(hashing) != 0 {
		t.Error("a place is not given back")
	}
}
