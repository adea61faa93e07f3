package secret

import (
	"bytes"
	"strings"
	"testing"
)

func TestNewKey(t *testing.T) {
	key, err := NewKey(DefaultKeyPrefix, bytes.NewReader(make([]byte, 32)))
	if want := "rr_live_" + strings.Repeat("A", 43); err != nil || key[:len(want)] != want || len(key) != len(want)+8 {
		t.Errorf("got %q, %v", key, err)
	}
	if _, err := NewKey("rr live", bytes.NewReader(make([]byte, 32))); err == nil {
		t.Error("a prefix with a space was accepted")
	}
	if _, err := NewKey("", bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a key was made of too few random bits")
	}
	if !CheckKey(key) || CheckKey("") || CheckKey("00000000") {
		t.Error("a checksum is not what it should be")
	}
	for i := range len(key) {
		wrong := []byte(key)
		wrong[i] ^= 1
		if CheckKey(string(wrong)) {
			t.Errorf("a typing error at %d goes unnoticed", i)
		}
	}
}
