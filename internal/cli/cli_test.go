package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/verify"
)

func TestKeygenPrintsAKeyOnceAndItsHash(t *testing.T) {
	var out bytes.Buffer
	cmd := keygen()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--prefix", "acme_"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	key := strings.TrimPrefix(strings.SplitN(text, "\n", 2)[0], "key:  ")
	if !strings.HasPrefix(key, "acme_") || len(key) != len("acme_")+43+8 || !CheckKey(key) {
		t.Errorf("not a key: %q", key)
	}
	if strings.Count(text, key) != 1 {
		t.Error("the key is printed more than once")
	}
	if !strings.Contains(text, "accept key {\n\thash "+verify.FormatHash(key)+"\n}") {
		t.Errorf("no line that accepts the key in:\n%s", text)
	}
}

func TestNewKey(t *testing.T) {
	key, err := NewKey("rr_live_", bytes.NewReader(make([]byte, 32)))
	if want := "rr_live_" + strings.Repeat("A", 43); err != nil || key[:len(want)] != want {
		t.Errorf("got %q, %v", key, err)
	}
	if _, err := NewKey("rr live", bytes.NewReader(make([]byte, 32))); err == nil {
		t.Error("a prefix with a space was accepted")
	}
	if _, err := NewKey("", bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a key was made of too few random bits")
	}
	for i := range len(key) {
		wrong := []byte(key)
		wrong[i] ^= 1
		if CheckKey(string(wrong)) {
			t.Errorf("a typing error at %d goes unnoticed", i)
		}
	}
}
