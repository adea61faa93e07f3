package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
)

// TestArchiveHeadersAreBounded: whoever makes a header does not decide how much opening it
// takes. Nothing is computed before that is known.
func TestArchiveHeadersAreBounded(t *testing.T) {
	for _, tt := range []struct {
		time, memory uint32
		threads      byte
		taken        bool
	}{
		{argonTime, argonMemory, argonThreads, true},
		{maxArgonTime, maxArgonMemory, maxArgonThreads, true},
		{maxArgonTime + 1, argonMemory, argonThreads, false},
		{argonTime, maxArgonMemory + 1, argonThreads, false},
		{argonTime, argonMemory, maxArgonThreads + 1, false},
		{1<<32 - 1, 1<<32 - 1, 255, false},
		{0, argonMemory, argonThreads, false},
		{argonTime, argonMemory, 0, false},
	} {
		h := &archiveHeader{format: archiveFormat, kind: lockedByPassphrase, time: tt.time, memory: tt.memory, threads: tt.threads}
		_, _, err := readHeader(bytes.NewReader(append(h.bytes(), make([]byte, sha256.Size)...)))
		if tt.taken && err != nil || !tt.taken && !errors.Is(err, ErrTampered) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
