package rrtest

import (
	"testing"

	"go.uber.org/goleak"
)

// NoLeak fails the test if goroutines that it started are left when all its other
// clean-ups have run. Call it first.
func NoLeak(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		// Caddy's cleaning of its storage leaves one of these sleeping for a while
		lock := goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh")
		if err := goleak.Find(before, lock); err != nil {
			t.Error(err)
		}
	})
}

// Main is for a package's TestMain: it runs the tests, and fails if goroutines are left
// when all of them are done.
func Main(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}
