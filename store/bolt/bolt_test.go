package bolt

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

func TestBackend(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Opener {
		return &Bolt{Path: filepath.Join(t.TempDir(), "rr", "rr.db")}
	})
}

// must opens a store that is closed at the end of the test.
func must(t testing.TB, path string) *backend {
	t.Helper()
	b, err := (&Bolt{Path: path}).Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b.(*backend)
}
