package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/store/secret"
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
	if !strings.HasPrefix(key, "acme_") || len(key) != len("acme_")+43+8 || !secret.CheckKey(key) {
		t.Errorf("not a key: %q", key)
	}
	if strings.Count(text, key) != 1 {
		t.Error("the key is printed more than once")
	}
	if !strings.Contains(text, "accept key {\n\thash "+verify.FormatHash(key)+"\n}") {
		t.Errorf("no line that accepts the key in:\n%s", text)
	}
}
