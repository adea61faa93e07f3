package wire

import (
	"reflect"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

// TestNamesMeanOneThing looks for a name that two members of a kind have.
func TestNamesMeanOneThing(t *testing.T) {
	for side, kinds := range map[string][]*kind{store.ProxySide: proxyKinds, store.TargetSide: targetKinds} {
		for _, k := range kinds {
			s := k.schema()
			for member, list := range s.names {
				plain := 0
				for _, n := range list {
					if !n.onlyObject {
						plain++
					}
				}
				if plain > 1 {
					t.Errorf("%s %s: %s is %d members", side, k.name, member, plain)
				}
			}
		}
	}
}

func TestSnake(t *testing.T) {
	for in, want := range map[string]string{"tokenUrl": "token_url", "tokenURL": "token_url", "jwksUri": "jwks_uri", "accessKeyID": "access_key_id", "JWKSUri": "jwks_uri", "a": "a", "dpop": "dpop"} {
		if got := snake(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"token_url": "tokenUrl", "a": "a", "x_": "x"} {
		if got := camel(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestLiteralNames(t *testing.T) {
	for pattern, want := range map[string]string{
		"^X-Env$": "X-Env", `^a\.b$`: "a.b", "^a$": "a", "(?:^a$)": "a", `\Aa\z`: "a",
		"^(a|b)$": "", "a$": "", "^a": "", "^a.$": "", "(?m)^a$": "", "(?i)^a$": "", "^$": "", "": "", "(": "", "^a$|^b$": "", "^a+$": "",
	} {
		if got, ok := literalName(pattern, false); got != want || ok != (want != "") {
			t.Errorf("%s is %q, want %q", pattern, got, want)
		}
	}
	if got, ok := literalName("(?i)^x-env$", true); !ok || got != "X-ENV" {
		t.Errorf("got %q", got)
	}
}

func TestEveryKindIsDescribed(t *testing.T) {
	for _, side := range []string{store.ProxySide, store.TargetSide} {
		types := SecretTypes(side)
		for _, name := range AuthTypes(side) {
			if types[name] == nil || types[name].Kind() != reflect.Struct {
				t.Errorf("%s %s is not described", side, name)
			}
		}
		if len(types) != len(AuthTypes(side)) {
			t.Errorf("%s: %d types for %d names", side, len(types), len(AuthTypes(side)))
		}
	}
}
