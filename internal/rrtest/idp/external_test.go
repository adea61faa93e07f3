package idp

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestExternal has the certified provider check what this package makes, and the other way
// round.
func TestExternal(t *testing.T) {
	e := StartExternal(t, "../../../test/testdata/oidc")
	kids := func() string {
		_, _, text := ask(t, e.Issuer+"/jwks")
		var set struct{ Keys []struct{ Kid string } }
		if err := json.Unmarshal([]byte(text), &set); err != nil {
			t.Fatal(err)
		}
		list := []string{}
		for _, k := range set.Keys {
			list = append(list, k.Kid)
		}
		return strings.Join(list, " ")
	}
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		header, claims, _ := parts(t, e.Token(ExternalResource+alg, "read write", nil))
		if header["alg"] != alg || header["typ"] != "at+jwt" || header["kid"] != alg+"-1" {
			t.Errorf("%s: header %v", alg, header)
		}
		if claims["iss"] != e.Issuer || claims["aud"] != ExternalResource+alg || claims["scope"] != "read write" || claims["sub"] != "caller" {
			t.Errorf("%s: claims %v", alg, claims)
		}
	}
	for _, alg := range []string{"ES256", "EdDSA"} { // proofs that the provider accepts
		client := NewProver(t, alg)
		_, claims, _ := parts(t, e.Token(ExternalResource+"ES256", "read", client))
		if cnf, _ := claims["cnf"].(map[string]any); cnf["jkt"] != client.Key.Thumbprint() {
			t.Errorf("%s: cnf %v, want %s", alg, claims["cnf"], client.Key.Thumbprint())
		}
	}
	if opaque := e.Token("", "read", nil); strings.Contains(opaque, ".") {
		t.Errorf("an opaque token: %s", opaque)
	}

	e.Rotate()
	const first, second = "RS256-1 PS256-1 ES256-1 EdDSA-1", "RS256-2 PS256-2 ES256-2 EdDSA-2"
	if got := kids(); got != second+" "+first {
		t.Errorf("rotated: %s", got)
	}
	e.Stop()
	if status, _, _ := ask(t, e.Issuer+"/jwks"); status != 0 {
		t.Errorf("stopped: %d", status)
	}
	e.Start()
	if got := kids(); got != second+" "+first {
		t.Errorf("started again: %s", got)
	}
	e.Retire()
	if got := kids(); got != second {
		t.Errorf("retired: %s", got)
	}
	e.CacheControl("max-age=7")
	if _, header, _ := ask(t, e.Issuer+"/jwks"); header.Get("Cache-Control") != "max-age=7" {
		t.Errorf("header %v", header)
	}
	if n := e.Requests("/jwks"); n != 3 {
		t.Errorf("%d requests for the key set since it was started again", n)
	}
}
