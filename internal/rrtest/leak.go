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
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
}
