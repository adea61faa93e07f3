package catalog

import (
	"errors"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/store"
)

// TestGrantsAreKeptOrNotUsed: while the store cannot be written no grant is given out, and
// afterwards it is, without anybody changing anything else.
func TestGrantsAreKeptOrNotUsed(t *testing.T) {
	k := newKit(t, nil)
	c := bearerCredential("c", "sk_test_0123456789")
	k.put(c)
	keeper := k.Records().keeper(c.ID, "part")
	for _, fault := range []error{store.ErrReadOnly, store.ErrFull, store.ErrUnavailable} {
		k.mem.Fail(fault)
		if g, err := keeper.Load(t.Context()); !errors.Is(err, fault) || g != nil {
			t.Errorf("nothing is kept: %v, %v; want %v", g, err, fault)
		}
		k.mem.Fail(nil)
		if g, err := keeper.Load(t.Context()); err != nil || g != nil {
			t.Errorf("nothing is kept: %v, %v", g, err)
		}
	}
	before := ""
	for _, token := range []string{"one", "two", "three"} {
		if err := keeper.Save(t.Context(), before, &oauth.Grant{Refresh: token}); err != nil {
			t.Fatal(err)
		}
		before = token
		for _, fault := range []error{store.ErrReadOnly, store.ErrFull, store.ErrUnavailable} {
			k.mem.Fail(fault)
			if g, err := keeper.Load(t.Context()); !errors.Is(err, fault) || g != nil {
				t.Errorf("%s: %v, %v; want %v", token, g, err, fault)
			}
			k.mem.Fail(nil)
			if g, err := keeper.Load(t.Context()); err != nil || g == nil || g.Refresh != token {
				t.Errorf("%s: %v, %v", token, g, err)
			}
		}
		if h := k.Health(t.Context()); !h.Writable {
			t.Errorf("the store is said not to be writable: %v", h.Err)
		}
	}
}

// TestHealthFollowsTheDisk: what is written from time to time tells whether the store can be.
func TestHealthFollowsTheDisk(t *testing.T) {
	k := newKit(t, nil)
	c := keyCredential("c", key1)
	k.put(c)
	id, _ := parseID(c.ID)
	for minute, fault := range []error{nil, store.ErrFull, nil, store.ErrReadOnly, nil} {
		k.mem.Fail(fault)
		k.Records().used.add(id, int64(minute))
		if err := k.Records().flushUsed(t.Context()); !errors.Is(err, fault) {
			t.Errorf("got %v, want %v", err, fault)
		}
		if h := k.Health(t.Context()); h.Writable != (fault == nil) || !errors.Is(h.Err, fault) {
			t.Errorf("after %v: %+v", fault, h)
		}
	}
	k.mem.Fail(nil)
}
