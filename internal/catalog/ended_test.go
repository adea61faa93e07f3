package catalog

import (
	"errors"
	"testing"
)

// TestRequestsAfterTheEnd: requests that outlive their configuration are served as the next
// one does, and nothing is made for them that would stay.
func TestRequestsAfterTheEnd(t *testing.T) {
	k := newKit(t, nil)
	p := k.usual()
	id, _ := parseID(p.ID)
	old := k.Catalog
	if g, err := old.Find("pay"); g == nil || err != nil {
		t.Fatalf("%v, %v", g, err)
	}
	next := k.another(nil)
	old.Close()
	k.Catalog = next
	for i := range 2 {
		g, err := old.Find("pay")
		if g == nil || err != nil {
			t.Fatalf("%v, %v", g, err)
		}
		if now, err := next.Find("pay"); now != g || err != nil {
			t.Errorf("it is not the next configuration's gate: %v", err)
		}
		if _, stays := old.served.Load(id); stays {
			t.Error("something is made for a configuration that has ended")
		}
		k.put(bearerCredential("another-"+string(rune('a'+i)), "sk_test_0123456789")) // somebody changes something
	}
	if g, err := old.Find("nobody"); g != nil || err != nil {
		t.Errorf("%v, %v", g, err)
	}
	next.Close()
	if g, err := old.Find("pay"); g != nil || !errors.Is(err, ErrClosed) {
		t.Errorf("nobody is left: %v, %v", g, err)
	}
}
