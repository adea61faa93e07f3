package catalog

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

// TestWhatIsOverIsDeleted: by the gateway, and its audit log says so of what is a record.
func TestWhatIsOverIsDeleted(t *testing.T) {
	k := newKit(t, nil)
	r := k.Records()
	now := r.now()
	over := &store.Block{Head: mine, TokenID: "over", ExpiresAt: now.Add(time.Minute)}
	k.put(over, &store.Block{Head: mine, TokenID: "stays", ExpiresAt: now.Add(3 * time.Hour)})
	for _, bucket := range []string{store.Consents, store.Replies} {
		for key, at := range map[string]time.Time{"over": now.Add(time.Minute), "stays": now.Add(3 * time.Hour)} {
			_, err := r.store.Apply(t.Context(), store.Put{Bucket: bucket, Key: key, Version: 1, Value: map[string]any{"expires_at": at, "status": 201}})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	before := r.now
	r.now = func() time.Time { return before().Add(time.Hour) }
	if err := r.expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{store.Consents, store.Replies} {
		var left any
		if _, err := r.store.Get(t.Context(), bucket, "over", &left); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: what is over is there: %v", bucket, err)
		}
		if _, err := r.store.Get(t.Context(), bucket, "stays", &left); err != nil {
			t.Errorf("%s: %v", bucket, err)
		}
	}
	if _, err := k.Block(t.Context(), store.DefaultClient, over.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the entry is there: %v", err)
	}
	var last audit.Entry
	for e, err := range k.Audit(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		last = e
	}
	if last.Action != "expire" || last.Actor != (audit.Actor{Kind: audit.System}) || last.ID != over.ID || last.Client != store.DefaultClient || last.Name != "over" || last.Resource != store.Blocked {
		t.Errorf("the audit log ends with %+v", last)
	}
}
